package main

import (
	"fmt"
	"strings"
)

const (
	cFiles     = 60
	cFunctions = 20 // in each file
)

// cMakefile builds a library and a program, as small projects in C do.
const cMakefile = `PREFIX ?= /usr/local
OBJECTS := $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))

all: build/libbench.a build/bench

build/%.o: src/%.c include/bench.h
	@mkdir -p build
	./compile.sh $< $@

build/libbench.a: $(OBJECTS)
	$(AR) rcs $@ $^

build/bench: main.c build/libbench.a
	$(CC) -O2 -Iinclude -o $@ $^

install: all
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	cp build/bench $(DESTDIR)$(PREFIX)/bin/
	cp build/libbench.a $(DESTDIR)$(PREFIX)/lib/
	cp include/bench.h $(DESTDIR)$(PREFIX)/include/
`

// cCompile does in a few lines what ccache does, which the base image does not have, in the folder that recipes keep for
// ccache from build to build.
const cCompile = `#!/bin/sh
set -e
cache=${CCACHE_DIR:-.cache}
mkdir -p "$cache"
key=$cache/$(cat "$1" include/bench.h | sha256sum | cut -d' ' -f1).o
if [ ! -f "$key" ]; then
  cc -O2 -g -Iinclude -c "$1" -o "$key.$$"
  mv "$key.$$" "$key"
fi
cp "$key" "$2"
`

// cProject returns a project in C that takes some seconds to compile. Each salt makes each of its files another one.
func cProject(salt string) map[string]string {
	var header, calls strings.Builder
	fmt.Fprintf(&header, "#ifndef BENCH_H\n#define BENCH_H\n#define BENCH_SALT %q\n", salt)
	files := map[string]string{"Makefile": cMakefile, "compile.sh": cCompile}
	for i := range cFiles {
		fmt.Fprintf(&header, "unsigned part%d(unsigned n);\n", i)
		fmt.Fprintf(&calls, "  sum += part%d((unsigned)argc);\n", i)
		files[cFile(i)] = cSource(i, "")
	}
	header.WriteString("#endif\n")
	files["include/bench.h"] = header.String()
	files["main.c"] = "#include <stdio.h>\n#include \"bench.h\"\n\nint main(int argc, char **argv) {\n  (void)argv;\n  unsigned sum = 0;\n" +
		calls.String() + "  printf(\"%s %u\\n\", BENCH_SALT, sum);\n  return 0;\n}\n"
	return files
}

func cFile(i int) string { return fmt.Sprintf("src/part%d.c", i) }

// cSource returns one of the project's files. What changed is written into it.
func cSource(i int, changed string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"bench.h\"\n\nconst char *changed%d(void) { return %q; }\n", i, changed)
	for f := range cFunctions {
		fmt.Fprintf(&b, `
static unsigned step%[1]d(const char *text, unsigned n) {
  unsigned table[%[2]d], sum = n;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) table[i] = (unsigned)(i * %[3]d) ^ n;
  for (const char *c = text; *c; c++) {
    switch (*c %% 5) {
    case 0: sum += table[(unsigned char)*c %% %[2]d]; break;
    case 1: sum ^= sum << 5 | sum >> 27; break;
    case 2: sum *= %[3]d; break;
    case 3: sum -= (unsigned)strlen(c); break;
    default: sum = sum > n ? sum - n : n - sum;
    }
  }
  return sum;
}
`, f, 16+f, 2*(i*cFunctions+f)+3)
	}
	fmt.Fprintf(&b, "\nunsigned part%d(unsigned n) {\n  char text[32];\n", i)
	for f := range cFunctions {
		fmt.Fprintf(&b, "  snprintf(text, sizeof text, \"%%u of %%d\", n, %d);\n  n += step%d(text, n);\n", f, f)
	}
	b.WriteString("  return n;\n}\n")
	return b.String()
}
