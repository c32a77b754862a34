# Asks firezonectl for the words that may come next. fish quotes them.
function __firezonectl_complete
    set --local typed (commandline --current-process --tokenize --cut-at-cursor)
    # As a program sees it. An opening quotation mark is not part of the word that is being typed.
    set --local current (commandline --current-token --cut-at-cursor | string replace --regex '^["\']' '' | string unescape)
    COMPLETE=fish firezonectl -- $typed "$current" 2>/dev/null
end
complete --keep-order --exclusive --command firezonectl --arguments '(__firezonectl_complete)'
