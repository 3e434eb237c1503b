#compdef nixcloud-container
# Completions of nixcloud-container for zsh 5 and newer.
# Installed as _nixcloud-container in a folder of $fpath, or sourced after compinit.

_nixcloud-container() {
    local -a lines entries folders options
    local line value help
    lines=("${(@f)$(command nixcloud-container __complete zsh \
        "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        value=${line%%$'\t'*}
        help=${${line#$value}#$'\t'}
        # A colon separates the value from its help.
        line=${value//:/\\:}${help:+:$help}
        case $value in
            */) folders+=("$line") ;;
            -*) options+=("$line") ;;
            *) entries+=("$line") ;;
        esac
    done
    local found=1
    (( $#entries )) && _describe -V 'nixcloud-container' entries && found=0
    (( $#folders )) && _describe -V 'folder' folders -S '' && found=0
    (( $#options )) && _describe -V -o 'option' options && found=0
    return found
}

# As a file of $fpath this is the function's body; sourced, it says what it completes.
if [[ $funcstack[1] == _nixcloud-container ]]; then
    _nixcloud-container "$@"
else
    compdef _nixcloud-container nixcloud-container
fi
