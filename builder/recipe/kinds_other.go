package recipe

// cargoWork installs the programs of the package or of the workspace, libraries with a C interface, or else the sources.
func cargoWork(p project) work {
	locked := ""
	if p.has("Cargo.lock") {
		locked = " --locked"
	}
	home := "${CARGO_HOME:-/root/.cargo}"
	return work{
		tools: rustTools, output: installed, env: []setting{{"CARGO_TARGET_DIR", "/build"}}, args: map[string]string{"CARGO_ARGS": ""},
		caches: []cache{{path: home + "/registry"}, {path: home + "/git"}},
		steps: []step{
			{"Build", "cargo build --release --workspace" + locked + " $CARGO_ARGS"},
			{"Install", cargoScript},
		},
	}
}

// A project that names its target, in .cargo/config.toml or in CARGO_ARGS, gets a folder of that name in between.
const cargoScript = `mkdir -p ` + installed + `/bin ` + installed + `/lib
made=$(find /build -maxdepth 2 -type d -name release)
[ -n "$made" ] || {
  echo "Cargo built no release: CARGO_ARGS of this recipe cannot name another profile." >&2
  exit 1
}
find $made -maxdepth 1 -type f -perm -u+x ! -name '*.so' -exec cp {} ` + installed + `/bin/ \;
cargo metadata --no-deps --format-version 1 >/tmp/metadata
if grep -q -e '"cdylib"' -e '"staticlib"' /tmp/metadata; then
  find $made -maxdepth 1 -type f \( -name '*.so' -o -name '*.a' \) -exec cp {} ` + installed + `/lib/ \;
fi
rmdir ` + installed + `/bin ` + installed + `/lib 2>/dev/null || true
[ -n "$(ls ` + installed + `)" ] || {
  name=$(sed 's/^{"packages":\[{"name":"\([^"]*\)".*/\1/' /tmp/metadata)
  echo "There are no programs and no C libraries: the sources go to /usr/local/src/$name."
  mkdir -p "` + installed + `/src/$name"
  cp -a . "` + installed + `/src/$name"
}`

// npmWork installs what npm would publish, with the dependencies that it needs to run, in the versions of the lock file.
func npmWork(p project) work {
	install := "npm install"
	if p.has("package-lock.json") || p.has("npm-shrinkwrap.json") {
		install = "npm ci"
	}
	return work{
		tools: nodeTools, output: installed, env: []setting{{"NPM_CONFIG_UPDATE_NOTIFIER", "false"}},
		caches: []cache{{path: "/root/.npm"}},
		steps: []step{
			{"Dependencies", install + " --no-audit --no-fund"},
			{"Build", "npm run build --if-present"},
			{"Install", npmScript},
		},
	}
}

// Workspaces and folders that are dependencies are links in node_modules. They lead nowhere from where it is installed, so
// that what they lead to takes their place.
const npmScript = `mkdir -p /tmp/pack
npm pack --pack-destination /tmp/pack
npm prune --omit=dev --no-audit --no-fund
name=$(node -p 'require("./package.json").name')
package=` + installed + `/lib/node_modules/$name
mkdir -p "$package" ` + installed + `/bin
tar -xzf /tmp/pack/*.tgz --strip-components=1 -C "$package"
if [ -d node_modules ]; then
  cp -a node_modules "$package"
  find node_modules -mindepth 1 -maxdepth 2 -type l ! -path 'node_modules/.bin/*' | while read -r link; do
    rm "$package/$link"
    cp -a "$(readlink -f "$link")" "$package/$link"
  done
fi
node -e '
  const { name, bin } = require("./package.json");
  const programs = typeof bin === "string" ? { [name.split("/").pop()]: bin } : bin || {};
  for (const [program, file] of Object.entries(programs)) console.log(program, file);
' | while read -r program file; do
  chmod +x "$package/$file"
  ln -s "../lib/node_modules/$name/$file" "` + installed + `/bin/$program"
done
rmdir ` + installed + `/bin 2>/dev/null || true`

// pythonWork installs the package alone: which versions of others it would get, no file of the repository fixes. Debian's
// pip adds a folder local to the prefix, which is taken out again.
func pythonWork(project) work {
	return work{
		tools: pipTools, output: installed,
		env:    []setting{{"PIP_DISABLE_PIP_VERSION_CHECK", "1"}, {"PIP_ROOT_USER_ACTION", "ignore"}, {"PYTHONHASHSEED", "0"}},
		args:   map[string]string{"PIP_ARGS": "--no-deps"},
		caches: []cache{{path: "/root/.cache/pip"}},
		steps: []step{{"Install", `pip3 install --root=/out --prefix=/usr/local --no-compile --no-warn-script-location $PIP_ARGS .
if [ -d ` + installed + `/local ]; then
  cp -a ` + installed + `/local/. ` + installed + `
  rm -r ` + installed + `/local
fi` + filled("pip installed nothing below "+installed+". Say in .cooper/component.hcl how to build this.")}},
	}
}

// mavenWork installs the archives that the modules make, but for sources, documentation and tests. Maven's repository is
// not made for two at a time.
func mavenWork(project) work {
	return work{
		tools: mavenTools, output: installed, args: map[string]string{"MAVEN_ARGS": ""},
		caches: []cache{{path: "/root/.m2/repository", alone: true}},
		steps: []step{
			{"Build", `mvn -B package -DskipTests "-Dproject.build.outputTimestamp=${SOURCE_DATE_EPOCH:-0}"`},
			{"Install", `mkdir -p ` + installed + `/share/java
find . \( -name '*.jar' -o -name '*.war' \) -path '*/target/*' ! -path '*/target/*/*' \
  ! -name '*-sources.jar' ! -name '*-javadoc.jar' ! -name '*-tests.jar' ! -name 'original-*.jar' \
  -exec cp {} ` + installed + `/share/java/ \;` + filled("The project made no .jar or .war in a folder target. Say in .cooper/component.hcl how to build this.")},
		},
	}
}
