#compdef firezonectl
# Asks firezonectl for the words that may come next. zsh quotes them.
_firezonectl() {
    local candidate
    local -a typed directories others
    # As a program sees them. An opening quotation mark is not part of the word that is being typed.
    typed=("${(@Q)words}")
    typed[CURRENT]="${(Q)PREFIX}"
    for candidate in "${(@f)$(
        COMPLETE=zsh _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) firezonectl -- "${typed[@]}" 2>/dev/null
    )}"; do
        case $candidate in
            '') ;;
            # A path goes on after a directory.
            */) directories+=("${candidate%/}") ;;
            *) others+=("$candidate") ;;
        esac
    done
    (( $#directories )) && _describe -V values directories -S / -r /
    (( $#others )) && _describe -V values others
}
# As a file where zsh looks for functions this is the function's first call; otherwise somebody has sourced it.
if [[ ${funcstack[1]} == _firezonectl ]]; then
    _firezonectl "$@"
else
    compdef _firezonectl firezonectl
fi
