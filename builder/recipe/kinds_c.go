package recipe

// cWork is what all projects in C and C++ have in common. The compilers' own cache is used where the image has ccache.
func cWork(tools []tool, arg string, steps ...step) work {
	return work{
		tools: tools, output: installed, steps: steps, args: map[string]string{arg: ""},
		env:    []setting{{"PATH", "/usr/lib/ccache:$PATH"}, {"CCACHE_DIR", "/root/.cache/ccache"}},
		caches: []cache{{path: "/root/.cache/ccache"}},
	}
}

// A project that ignores DESTDIR installs into the build's own image, and its component would be empty.
const ignoresDestdir = "is empty after the install step: the project installs nothing, or it ignores DESTDIR or the prefix /usr/local. Say in .cooper/component.hcl how to build it, or give options in the build arg "

func cmakeWork(project) work {
	return cWork(
		cmakeTools, "CMAKE_ARGS",
		step{"Configure", "cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr/local -DCMAKE_INSTALL_LIBDIR=lib $CMAKE_ARGS"},
		step{"Build", `cmake --build /build --parallel "$(nproc)"`},
		step{"Install", "DESTDIR=/out cmake --install /build" + filled(installed+" "+ignoresDestdir+"CMAKE_ARGS.")},
	)
}

func mesonWork(project) work {
	return cWork(
		mesonTools, "MESON_ARGS",
		step{"Configure", "meson setup /build --buildtype=release --prefix=/usr/local --libdir=lib $MESON_ARGS"},
		step{"Build", "meson compile -C /build"},
		step{"Install", "DESTDIR=/out meson install -C /build --no-rebuild" + filled(installed+" "+ignoresDestdir+"MESON_ARGS.")},
	)
}

// autotoolsWork passes no option but the prefix: scripts that were written by hand refuse those that they do not know. Git
// keeps no times, and make would take files for outdated that the author had made anew: all get the same time.
func autotoolsWork(p project) work {
	tools, generate := autoTools, ""
	switch {
	case p.has("configure"):
		tools = cTools
	case p.has("autogen.sh"):
		generate = generated("autogen.sh")
	case p.has("autogen"):
		generate = generated("autogen")
	default:
		generate = "autoreconf --force --install\n"
	}
	return cWork(
		tools, "CONFIGURE_ARGS",
		step{"Configure", `find . -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +` + "\n" + generate +
			"chmod +x configure\n./configure --prefix=/usr/local $CONFIGURE_ARGS"},
		step{"Build", `make -j"$(nproc)"`},
		step{"Install", "make install DESTDIR=/out" + filled(installed+" "+ignoresDestdir+"CONFIGURE_ARGS.")},
	)
}

// generated runs a script that makes the configure script. Many would run that, too, if they were not told to leave it.
func generated(script string) string {
	return "chmod +x " + script + "\nNOCONFIGURE=1 ./" + script + `
[ -f configure ] || {
  echo "` + script + ` made no configure script. Say in .cooper/component.hcl how to build this." >&2
  exit 1
}
`
}

// makeWork passes the prefix to both steps, since some Makefiles build it into their programs. The usual folders are there
// before the install step, as they are on any machine, and go when they stay empty. A Makefile that ignores DESTDIR is given
// another prefix, and what it has noted of that is put right.
func makeWork(p project) work {
	variables := "PREFIX=/usr/local prefix=/usr/local $MAKE_ARGS"
	folders := installed + "/bin " + installed + "/lib " + installed + "/include"
	return cWork(
		cTools, "MAKE_ARGS",
		step{"Build", `make -j"$(nproc)" ` + variables},
		step{"Install", "make -n install DESTDIR=/out " + variables + " >/dev/null || {\n" +
			`  echo "` + p.file + ` has no install target that works. Add one that puts files below \$(DESTDIR)\$(PREFIX), or say in .cooper/component.hcl how to build this." >&2` +
			"\n  exit 1\n}\n" +
			"mkdir -p " + folders + "\n" +
			"make install DESTDIR=/out " + variables + otherPrefix +
			filled(installed+" "+ignoresDestdir+"MAKE_ARGS.") +
			"\nrmdir " + folders + " 2>/dev/null || true"},
	)
}

// otherPrefix is what follows an install step that may have ignored DESTDIR.
const otherPrefix = `
[ -n "$(find ` + installed + ` ! -type d | head -n 1)" ] || {
  echo "Nothing is below DESTDIR: installing once more, with PREFIX=` + installed + ` instead."
  make install PREFIX=` + installed + ` prefix=` + installed + ` $MAKE_ARGS
  find ` + installed + ` -name '*.pc' -exec sed -i 's|` + installed + `|/usr/local|g' {} +
  find ` + installed + ` -type l | while read -r link; do
    to=$(readlink "$link")
    case $to in "${link%/*}"/*) ln -sfn "${to##*/}" "$link" ;; ` + installed + `/*) ln -sfn "/usr/local${to#` + installed + `}" "$link" ;; esac
  done
}`
