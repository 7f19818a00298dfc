#!/bin/sh
# Runs a test's program as rank 0 of two. They meet through a file, so that both are of one family: see
# tests/conformance/cluster.h.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
MPROC_TEST_MEETING=$folder/meeting
MPROC_AGENT_WORKERS=8
OMPI_ALLOW_RUN_AS_ROOT=1
OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
OMPI_MCA_btl_base_warn_component_unused=0
export MPROC_TEST_MEETING MPROC_AGENT_WORKERS OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM
export OMPI_MCA_btl_base_warn_component_unused
status=0
mpirun --oversubscribe --bind-to none -n 2 "$@" || status=$?
exit "$status"
