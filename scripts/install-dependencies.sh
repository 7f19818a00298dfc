#!/bin/sh
# Installs what is missing to build ("build"), to test ("test"), to make the manual ("manual"), or to compare with other
# libraries and to draw that ("bench"), on Debian and Ubuntu. Elsewhere it names what is missing and stops.
set -eu

missing_programs=
missing_packages=
wanted_packages=

# need PACKAGE COMMAND...: the package is missing if the command fails
need() {
    package=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        missing_packages="$missing_packages $package"
        missing_programs="$missing_programs $package"
    fi
}

# want PACKAGE COMMAND...: the same of what can be done without
want() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || wanted_packages="$wanted_packages $package"
}

has() { command -v "$1"; }
has_header() { echo "#include <$1>" | ${CC:-cc} -E -x c - ; }
has_cxx_header() { echo "#include <$1>" | ${CXX:-c++} -E -x c++ - ; }
has_server() { has redis-server || has valkey-server; }
has_mpi() { pkg-config --exists ompi-c || has mpicc; }
has_libomp() { echo 'int main(void){return 0;}' | clang -fopenmp -x c -o /dev/null - ; }
has_cmake() { [ "$(printf '3.20\n%s\n' "$(cmake --version | sed -n 's/^cmake version //p')" | sort -V | head -n 1)" = 3.20 ]; }

for purpose in "$@"; do
    case $purpose in
    build)
        need gcc has gcc
        need libc6-dev has_header stdio.h
        need cmake has_cmake
        need make has make
        want pkg-config has pkg-config
        want libjansson-dev has_header jansson.h
        want libhiredis-dev has_header hiredis/hiredis.h
        want libssl-dev has_header openssl/ssl.h
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
        need libgd-dev has_header gd.h
        need libcurl4-openssl-dev has_header curl/curl.h
        need zlib1g-dev has_header zlib.h
        need libpng-dev has_header png.h
        need git has git
        need procps has ps
        need libhiredis-dev has_header hiredis/hiredis.h
        need libssl-dev has_header openssl/ssl.h
        need openssl has openssl
        need redis-server has_server
        need libopenmpi-dev has_mpi
        need openmpi-bin has mpirun
        need iproute2 has ip
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
        need clang has clang
        need libomp-dev has_libomp
        need libtbb-dev has_cxx_header oneapi/tbb/parallel_for.h
        need libjansson-dev has_header jansson.h
        need gnuplot-nox has gnuplot
        need libboost-dev has_cxx_header boost/interprocess/ipc/message_queue.hpp
        need libzmq3-dev has_header zmq.h
        need libnng-dev has_header nng/nng.h
        need redis-server has redis-server
        need libhiredis-dev has_header hiredis/hiredis.h
        need libssl-dev has_header openssl/ssl.h
        need libopenmpi-dev has_mpi
        need openmpi-bin has mpirun.openmpi
        need python3 has python3
        ;;
    *)
        echo "usage: $0 [build] [test] [manual] [bench]" >&2
        exit 2
        ;;
    esac
done

[ -n "$missing_packages$wanted_packages" ] || exit 0
if [ -z "$missing_packages" ] && ! { has apt-get && { [ "$(id -u)" = 0 ] || has sudo; }; } >/dev/null; then
    echo "Some things will not be built, as these are missing:$wanted_packages"
    exit 0
fi

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
    [ -n "$missing_packages" ] || as_root='sudo -n' # not worth a password
fi

echo "Installing with apt-get:$missing_packages$wanted_packages"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq || [ -z "$missing_packages" ]
# shellcheck disable=SC2086 # a list of words
[ -z "$missing_packages" ] || $as_root apt-get install -y -qq --no-install-recommends $missing_packages >/dev/null
# shellcheck disable=SC2086
[ -z "$wanted_packages" ] || $as_root apt-get install -y -qq --no-install-recommends $wanted_packages >/dev/null ||
    echo "Some things will not be built, as these cannot be installed:$wanted_packages"

# clang's runtime depends on the clang that has only now been installed
case " $missing_packages " in
*" clang "*) exec "$0" "$@" ;;
esac
