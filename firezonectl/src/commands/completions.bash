# shellcheck shell=bash
# Asks firezonectl for the words that may come next, and quotes them for the shell.
_firezonectl() {
    local word current=${2//\\/} quote=${COMP_WORDS[COMP_CWORD]:0:1}
    local -a words=("${COMP_WORDS[@]}")
    words[COMP_CWORD]=$current
    COMPREPLY=()
    while IFS= read -r word; do
        [[ -n $word ]] || continue
        # Inside quotation marks a space is only a space.
        [[ $quote == [\"\'] ]] || printf -v word %q "$word"
        COMPREPLY+=("$word")
    done < <(
        COMPLETE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$COMP_CWORD _CLAP_COMPLETE_COMP_TYPE=${COMP_TYPE:-9} \
            _CLAP_COMPLETE_SPACE=true firezonectl -- "${words[@]}" 2>/dev/null
        echo
    )
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -F _firezonectl firezonectl
