#!/bin/sh
# Installs what is missing to build ("build"), to test ("test"), to make the manual ("manual"), or to compare queues with
# others ("bench"), on Debian and Ubuntu. Elsewhere it names what is missing and stops.
set -eu

missing_programs=
missing_packages=

# need PACKAGE COMMAND...: the package is missing if the command fails
need() {
    package=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        missing_packages="$missing_packages $package"
        missing_programs="$missing_programs $package"
    fi
}

has() { command -v "$1"; }
has_header() { echo "#include <$1>" | ${CC:-cc} -E -x c - ; }
has_cxx_header() { echo "#include <$1>" | ${CXX:-c++} -E -x c++ - ; }
has_cmake() { [ "$(printf '3.20\n%s\n' "$(cmake --version | sed -n 's/^cmake version //p')" | sort -V | head -n 1)" = 3.20 ]; }

for purpose in "$@"; do
    case $purpose in
    build)
        need gcc has gcc
        need libc6-dev has_header stdio.h
        need cmake has_cmake
        need make has make
        ;;
    test)
        need g++ has g++
        need clang has clang
        need clang-tidy has clang-tidy
        need clang-format has clang-format
        need valgrind has valgrind
        need pkg-config has pkg-config
        need libcmocka-dev has_header cmocka.h
        need libuv1-dev has_header uv.h
        need git has git
        need procps has ps
        need python3 has python3
        need spin has spin
        # clang's sanitizers are a package of their own in newer releases
        if has clang >/dev/null && ! echo 'int main(void){return 0;}' |
            clang -fsanitize=address -x c -o /dev/null - >/dev/null 2>&1; then
            version=$(clang -dumpversion | cut -d. -f1)
            missing_packages="$missing_packages libclang-rt-$version-dev"
        fi
        ;;
    manual)
        need doxygen has doxygen
        ;;
    bench)
        need pkg-config has pkg-config
        need g++ has g++
        need libboost-dev has_cxx_header boost/interprocess/ipc/message_queue.hpp
        need libzmq3-dev has_header zmq.h
        need libnng-dev has_header nng/nng.h
        need libopenmpi-dev pkg-config --exists ompi-c
        need openmpi-bin has mpirun.openmpi
        need python3 has python3
        ;;
    *)
        echo "usage: $0 [build] [test] [manual] [bench]" >&2
        exit 2
        ;;
    esac
done

[ -n "$missing_packages" ] || exit 0

if ! has apt-get >/dev/null; then
    echo "These are missing, and this is not Debian or Ubuntu, so please install them:$missing_packages" >&2
    exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! has sudo >/dev/null; then
        echo "These packages are missing, and neither root nor sudo is there to install them:$missing_packages" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "Installing with apt-get:$missing_packages"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing_packages >/dev/null

# clang's runtime depends on the clang that has only now been installed
case " $missing_packages " in
*" clang "*) exec "$0" "$@" ;;
esac
