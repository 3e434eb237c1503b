# Completions of nixcloud-container for bash 4 and newer.
# Installed as /usr/share/bash-completion/completions/nixcloud-container, or sourced.

_nixcloud_container() {
    COMPREPLY=()
    local kind= candidate
    while IFS= read -r candidate; do
        if [[ -z $kind ]]; then
            kind=$candidate
        else
            COMPREPLY+=("$candidate")
        fi
    done <<<"$(command nixcloud-container __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)"
    # Bash quotes paths, shows their last part, and adds the slash of a folder.
    if [[ $kind == files ]] && compopt -o filenames 2>/dev/null; then
        COMPREPLY=("${COMPREPLY[@]%/}")
    fi
}

# Before bash 4.4 candidates are always sorted.
complete -o nosort -F _nixcloud_container nixcloud-container 2>/dev/null ||
    complete -F _nixcloud_container nixcloud-container
