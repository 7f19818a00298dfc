#!/bin/sh
# The installed library is found by CMake and by pkg-config, and works as a subproject; its headers compile alone, as C11
# with -pedantic and as C++.
set -eu
cd "$(dirname "$0")/.."
source=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -S . -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work/prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DMPROC_TESTS=OFF -DMPROC_EXAMPLES=OFF -DMPROC_BENCH=OFF
cmake --build "$work/build" -j "$(nproc)"
cmake --install "$work/build"
(cd "$work/prefix" && find . -type f -o -type l | sort)

echo "== CMake package"
cmake -S tests/structure/consumer -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build "$work/consumer"
"$work/consumer/consumer_shared"
"$work/consumer/consumer_static"

echo "== subproject"
cmake -S tests/structure/consumer -B "$work/subproject" -DMPROC_SOURCE="$source"
cmake --build "$work/subproject" -j "$(nproc)"
"$work/subproject/consumer_shared"
if ls "$work"/subproject/mproc/tests >/dev/null 2>&1; then
    echo "a subproject builds the tests"
    exit 1
fi

echo "== pkg-config"
export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig"
pkg-config --modversion mproc
# shellcheck disable=SC2046 # lists of words
for compiler in gcc clang; do
    $compiler -std=c11 -pedantic -Wall -Wextra -Werror tests/structure/consumer/consumer.c -o "$work/a" \
        $(pkg-config --cflags --libs mproc)
    LD_LIBRARY_PATH="$work/prefix/lib" "$work/a"
done
# shellcheck disable=SC2046
gcc -std=c11 tests/structure/consumer/consumer.c -o "$work/a" $(pkg-config --cflags mproc) \
    "$work/prefix/lib/libmproc.a" -pthread
"$work/a"

echo "== C++"
# shellcheck disable=SC2046
for standard in 11 17 20; do
    g++ -std=c++$standard -pedantic -Wall -Wextra -Werror tests/structure/consumer/consumer.cpp -o "$work/a" \
        $(pkg-config --cflags --libs mproc)
    LD_LIBRARY_PATH="$work/prefix/lib" "$work/a"
done

echo "== each header alone"
for header in "$work"/prefix/include/mproc.h "$work"/prefix/include/mproc/*.h; do
    for language in c c++; do
        printf '#include "%s"\ntypedef int not_empty;\n' "$header" | gcc -x $language -I"$work/prefix/include" -Wall -Wextra -pedantic -Werror \
            -fsyntax-only -
    done
done

echo "== what must not compile"
for wrong in "long in[2]; long out[2]; mproc_map(NULL, task, in, out, 2);" \
    "int in[2]; int out[2]; mproc_map(NULL, task, in, out, 2);" \
    "int in[2]; const long out[2] = {0}; mproc_map(NULL, task, in, out, 2);" \
    "int in[2]; void *out = 0; mproc_map(NULL, task, in, out, 2);" \
    "int in[2]; long out[2]; mproc_map(NULL, task, in, out, 2, .nonsense = 1);" \
    "mproc_process *p = NULL; long number = 1; mproc_process_start(&p, run, &number);" \
    "mproc_process *p = NULL; const int number = 1; mproc_process_start(&p, change, &number);" \
    "mproc_process *p = NULL; int number = 1; mproc_process_start(&p, run, number);" \
    "mproc_process *p = NULL; int number = 1; mproc_process_start(&p, task, &number);" \
    "} MPROC_PROCESS(run, long); void g(void) {" \
    "} MPROC_PROCESS(task); void g(void) {" \
    "} static long wide(int *in) { return *in; } MPROC_PROCESS(wide); void g(void) {"; do
    printf '%s\n' "#include <mproc.h>" "#include <stddef.h>" \
        "static int task(const int *in, long *out) { *out = *in; return 0; }" "MPROC_TASK(task);" \
        "static int run(const int *in) { return *in; }" "static int change(int *in) { return *in; }" \
        "void f(void); void f(void) { $wrong }" >"$work/wrong.c"
    for compiler in gcc clang; do
        if $compiler -std=c11 -I"$work/prefix/include" -fsyntax-only "$work/wrong.c" 2>/dev/null; then
            echo "$compiler accepts: $wrong"
            exit 1
        fi
    done
done
echo "installation is fine"
