# SPDX-License-Identifier: LGPL-2.1-or-later
# Take debugging information out of linked files: $1 lists "file<TAB>debug file", one a line.
# Run within the sandbox, because these programs read what a build wrote; with the buildroot's
# binutils, so that the result does not depend on the machine.
tab=$(printf '\t')
while IFS=$tab read -r file debug; do
    if [ -z "$debug" ]; then
        strip --strip-debug --enable-deterministic-archives "$file" || echo "warning: $file"
        continue
    fi
    mkdir -p "${debug%/*}"
    if objcopy --only-keep-debug "$file" "$debug" 2>&1; then
        chmod 0644 "$debug"
        # In place: another name of the file (a hard link) is then stripped with it.
        strip --strip-unneeded -o "$debug.stripped" "$file" && cat "$debug.stripped" > "$file"
        rm -f "$debug.stripped"
    else
        rm -f "$debug"
        echo "warning: the debugging information of $file cannot be taken out"
    fi
done < "$1"
