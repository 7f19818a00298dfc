#!/bin/sh
# Each folder of src/ includes only itself, those above it in this list, and public headers.
set -eu
cd "$(dirname "$0")/.."
layers="base os memory sync channel process pool remote cluster"

wrong=0
below=
for layer in $layers; do
    below="$below $layer"
    [ -d "src/$layer" ] || continue
    for line in $(grep -HnoE '^ *# *include *"[^"]+"' "src/$layer"/* | sed 's/ *# *include *//; s/"//g'); do
        folder=$(echo "${line##*:}" | cut -d/ -f1)
        case " $below " in
        *" $folder "*) ;;
        *)
            echo "$line: src/$layer may not include src/$folder"
            wrong=1
            ;;
        esac
    done
done
for folder in src/*/; do
    case " $layers " in
    *" $(basename "$folder") "*) ;;
    *)
        echo "$folder: not one of the layers: $layers"
        wrong=1
        ;;
    esac
done
exit $wrong
