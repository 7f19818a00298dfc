#!/bin/sh
# Searches all states of the models in tests/models, and then looks whether the search finds the errors that the models
# have when told to (MUTANT_...). With "all", also the searches that take longer.
set -eu
cd "$(dirname "$0")/.."
models=$PWD/tests/models
mkdir -p build
folder=$(mktemp -d "$PWD/build/models.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"
wrong=0

# search OPTIMISATION MODEL [-DOPTION]...: leaves what the search said in `out`
search() {
    level=$1
    model=$2
    shift 2
    rm -f pan* out
    if ! spin -a "$@" "$models/$model.pml" >out 2>&1; then
        cat out
        return 1
    fi
    ${CC:-gcc} -w "$level" -DSAFETY -DNOFAIR -DMEMLIM=2500 -o pan pan.c
    nice ./pan -m600000 -w22 >out 2>&1 || true
}

truncated='max search depth|Search not completed|out of memory|reached -DMEMLIM|resource|aborting'

# holds OPTIMISATION MODEL [-DOPTION]...
holds() {
    search "$@" || { wrong=1; return; }
    shift
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
    if ! grep -q 'errors: 0$' out || grep -qE "$truncated" out; then
        echo "FAILED  $*"
        cat out
        wrong=1
    else
        echo "ok      $*: $states states, 0 errors"
    fi
}

# fails MODEL [-DOPTION]...
fails() {
    search -O0 "$@" || { wrong=1; return; }
    if grep -qE '^pan:1: (assertion violated|invalid end state)' out; then
        echo "ok      $*: the error is found"
    else
        echo "FAILED  $*: the error is not found"
        wrong=1
    fi
}

holds -O0 lock
holds -O0 lock -DTASKS=2 -DDEATHS=1
holds -O1 lock -DDEATHS=2 -DOTHERS_RELEASE
holds -O0 lock -DTASKS=2 -DDEATHS=1 -DAT_ONCE
holds -O0 condition -DRETURNS=2
holds -O1 condition -DDEATHS=2 -DRETURNS=1
holds -O0 semaphore -DKIND=BOUNDED
holds -O1 semaphore -DKIND=BOUNDED -DDEATHS=1
holds -O0 semaphore -DTASKS=2 -DDEATHS=2 -DPROCESSES_END_LATER -DVALUE_TOO -DUNITS=2
holds -O1 semaphore -DKIND=SIGNAL -DUNITS=0 -DDEATHS=1
holds -O0 event
holds -O1 event -DDEATHS=2
holds -O0 queue
holds -O0 queue -DPRODUCERS=2 -DLIMIT=2
holds -O0 queue -DREFUSALS=1 -DMESSAGES=2
holds -O1 queue -DCLOSES -DDEATHS=1 -DMESSAGES=2
holds -O1 queue -DPRODUCERS=2 -DDEATHS=1 -DPRODUCERS_DIE
[ "${1:-}" != all ] || holds -O1 queue -DDEATHS=2 -DMESSAGES=2
holds -O0 claims
holds -O1 claims -DDEATHS=1
holds -O1 claims -DDEATHS=1 -DMESSAGES=2 -DREDELIVER
[ "${1:-}" != all ] || holds -O1 claims -DDEATHS=2 -DMESSAGES=2 -DSEGMENTS=1 -DREDELIVER

fails lock -DMUTANT_NO_WAKE
fails lock -DMUTANT_NO_FLAG_AFTER_SLEEP
fails lock -DDEATHS=1 -DMUTANT_NOT_TOLD
fails lock -DDEATHS=2 -DOTHERS_RELEASE -DMUTANT_MARK_BY_AND
fails condition -DMUTANT_NO_WAKE
fails condition -DMUTANT_ONE_WAKE_UP
fails condition -DMUTANT_EXPECTED_READ_LATE
fails condition -DMUTANT_WAITERS_APART
fails semaphore -DTASKS=2 -DMUTANT_NO_CHANGE
fails semaphore -DTASKS=2 -DMUTANT_WAKE_FORGOTTEN
fails semaphore -DTASKS=2 -DMUTANT_GIVE_BACK_OF_LIVING
fails semaphore -DTASKS=2 -DDEATHS=1 -DMUTANT_DERIVE_FORGETS_ONE
fails semaphore -DTASKS=2 -DDEATHS=1 -DMUTANT_NO_REPAIR
fails semaphore -DKIND=BOUNDED -DDEATHS=1 -DMUTANT_REPAIR_FORGETS_SLEEPERS
fails event -DMUTANT_WAKE_ONE
fails event -DMUTANT_ONLY_THE_FLAG
fails queue -DMUTANT_TELL_BEFORE_PUT
fails queue -DMUTANT_NO_LOOK_AFTER_ANNOUNCED
fails queue -DMUTANT_WITHDRAW_AFTER_NEWS -DIN_ORDER
fails queue -DMUTANT_WOKEN_WITHDRAWS
fails queue -DCLOSES -DMESSAGES=2 -DMUTANT_CLOSED_BEFORE_ANNOUNCED
fails queue -DREFUSALS=1 -DMUTANT_REFUSED_UNTOLD
fails queue -DMUTANT_TAKEN_BEFORE_COPY
fails queue -DDEATHS=1 -DMUTANT_NO_REPAIR_OF_GOT
fails queue -DPRODUCERS=2 -DDEATHS=1 -DPRODUCERS_DIE -DMUTANT_NO_REPAIR_OF_TAIL
fails queue -DPRODUCERS=2 -DDEATHS=1 -DPRODUCERS_DIE -DMUTANT_NO_REPAIR_OF_PUT -DMUTANT_COUNT_BEFORE_PUT
fails claims -DMUTANT_CLAIMS_BEFORE_HEAD
fails claims -DMUTANT_CLAIM_AFTER_HEAD
fails claims -DMUTANT_RELEASED_TOO_EARLY
fails claims -DMESSAGES=2 -DDEATHS=1 -DMUTANT_STAMP_NOT_COMPARED
fails claims -DMESSAGES=2 -DDEATHS=1 -DMUTANT_REPAIR_FORGETS_HEAD
fails claims -DMESSAGES=2 -DDEATHS=1 -DMUTANT_DELIVERIES_APART
fails claims -DMESSAGES=2 -DDEATHS=1 -DMUTANT_OWNER_NOT_SEEN_AGAIN
exit $wrong
