# The commands that a person types. CMake does the work.

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
SECONDS ?= 120

QUICK ?=

.PHONY: help demo test crash soak fuzz bench bench-quick bench-deps bench-table manual install format clean

help:
	@echo 'make demo      build, and do the tutorial'\''s job: one after the other, in threads, in processes'
	@echo 'make test      build and test everything: gcc, clang, sanitizers, valgrind, clang-tidy, installation'
	@echo 'make crash     kill each process at every single machine instruction (half an hour and more)'
	@echo 'make soak      kill at random for SECONDS (default 120), and what else takes minutes'
	@echo 'make fuzz      feed connections, and what a cluster's wire brings, with arbitrary bytes, for SECONDS each'
	@echo 'make bench     measure against the limits of this machine and against other libraries (a quarter of an hour)'
	@echo 'make bench-quick  the same in less than three minutes; also: make bench QUICK=1'
	@echo 'make bench-deps  install the other libraries that bench compares with, and what draws the results'
	@echo 'make bench-table  put the results of the last bench into docs/performance.md'
	@echo 'make manual    the reference manual, as HTML and man pages, in build/manual'
	@echo 'make install   build and install below PREFIX (default /usr/local; DESTDIR is respected)'
	@echo 'make format    format the sources with clang-format'
	@echo 'make clean     remove everything that was built'
	@echo 'demo and test first install what they need, on Debian and Ubuntu, and say so.'

demo:
	@scripts/install-dependencies.sh build
	@scripts/build.sh release
	@echo
	@build/release/examples/sum_range
	@echo
	@build/release/examples/crash

test:
	@scripts/install-dependencies.sh build test manual
	@scripts/test.sh

crash:
	@scripts/install-dependencies.sh build test
	@scripts/build.sh release
	for test in shared_memory_steps heap_steps sync_steps map_steps pool_steps process_steps queue_steps roles_steps; do \
	  MPROC_CRASH_ALL=1 HARNESS_VERBOSE=1 LD_BIND_NOW=1 \
	    GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000 \
	    build/release/tests/test_$$test || exit 1; \
	done
	scripts/check-models.sh all

soak:
	@scripts/install-dependencies.sh build test
	@scripts/build.sh release
	MPROC_SOAK_SECONDS=$(SECONDS) HARNESS_VERBOSE=1 build/release/tests/test_stress
	MPROC_SOAK_SECONDS=$(SECONDS) HARNESS_VERBOSE=1 build/release/tests/test_queue_soak
	MPROC_SOAK_SECONDS=$(SECONDS) HARNESS_VERBOSE=1 build/release/tests/test_pool_soak
	MPROC_SOAK_SECONDS=$(SECONDS) HARNESS_VERBOSE=1 build/release/tests/test_soak
	MPROC_SOAK_SECONDS=$(SECONDS) HARNESS_VERBOSE=1 build/release/tests/test_python gigabytes_go_both_ways

fuzz:
	@scripts/install-dependencies.sh build test
	@scripts/build.sh fuzz
	@mkdir -p build/fuzz/corpus
	build/fuzz/tests/fuzz_connection -max_total_time=$(SECONDS) -max_len=4096 -print_final_stats=1 -artifact_prefix=build/fuzz/ \
	  build/fuzz/corpus tests/fuzz/corpus
	@mkdir -p build/fuzz/cluster_corpus
	build/fuzz/tests/fuzz_cluster -max_total_time=$(SECONDS) -max_len=4096 -print_final_stats=1 -artifact_prefix=build/fuzz/ \
	  build/fuzz/cluster_corpus tests/fuzz/cluster_corpus

bench:
	@scripts/install-dependencies.sh build
	@scripts/build.sh release
	@scripts/bench.sh $(if $(QUICK),quick)

bench-quick:
	@$(MAKE) --no-print-directory bench QUICK=1

bench-table:
	@scripts/bench-table.sh

bench-deps:
	@scripts/install-dependencies.sh build bench

manual:
	@scripts/install-dependencies.sh manual
	@mkdir -p build
	doxygen docs/Doxyfile
	@echo 'Read build/manual/html/index.html'

install:
	cmake -S . -B build/install -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) \
	  -DMPROC_TESTS=OFF -DMPROC_EXAMPLES=OFF -DMPROC_BENCH=OFF
	cmake --build build/install -j $(JOBS)
	cmake --install build/install

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cpp')

clean:
	rm -rf build
