#compdef nixcloud-container
# Completions of nixcloud-container for zsh 5 and newer.
# Installed as _nixcloud-container in a folder of $fpath, or sourced after compinit.

_nixcloud-container() {
    local -a lines values helps folders shown expl
    local line value help
    local -i index longest=0 found=1
    lines=("${(@f)$(command nixcloud-container __complete zsh \
        "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        value=${line%%$'\t'*}
        help=${${line#$value}#$'\t'}
        if [[ $value == */ ]]; then
            folders+=("$value")
            continue
        fi
        values+=("$value")
        helps+=("$help")
        (( $#value > longest )) && longest=$#value
    done
    # In the order in which they are told; one a line where there is help. (_describe would put those with the same
    # help on one line.)
    if (( $#values )); then
        _description -V nixcloud-container expl nixcloud-container
        if [[ -n ${(j::)helps} ]]; then
            for (( index = 1; index <= $#values; index++ )); do
                line="${(r:longest:)values[index]}  -- $helps[index]"
                shown+=("${line[1,COLUMNS-1]}")
            done
            compadd "${expl[@]}" -l -d shown -a values && found=0
        else
            compadd "${expl[@]}" -a values && found=0
        fi
    fi
    # No space follows: the path goes on.
    if (( $#folders )); then
        _description -V folders expl folder
        compadd "${expl[@]}" -S '' -a folders && found=0
    fi
    return found
}

# As a file of $fpath this is the function's body; sourced, it says what it completes.
if [[ $funcstack[1] == _nixcloud-container ]]; then
    _nixcloud-container "$@"
else
    compdef _nixcloud-container nixcloud-container
fi
