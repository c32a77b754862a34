#!/bin/sh
# The browser of people who sit at no screen: it opens the page, says who it is, and goes wherever it is sent.
# $1: the address. What it does is in the journal beside it.
set -eu
cd "$HOME"
exec >>browser.log 2>&1
echo "opened"
fetch() {
    curl --silent --show-error --max-time 20 --cookie jar --cookie-jar jar "$@"
}
# The value of the attribute $2 of the first tag $1 in the page on standard input.
attribute() {
    sed -n "s/.*<$1 [^>]*$2=\"\([^\"]*\)\".*/\1/p" | sed -e 's/&#38;/\&/g' | head -n 1
}
origin=$(echo "$1" | sed 's,^\([a-z]*://[^/]*\).*,\1,')
page=$(fetch "$1")
choice=$(echo "$page" | attribute a href)
if [ -n "$choice" ]; then
    echo "chose an account"
    page=$(fetch "$origin$choice")
fi
form=$(echo "$page" | attribute form action)
. ./person
page=$(fetch --data-urlencode "email=$email" --data-urlencode "password=$password" "$origin$form")
next=$(echo "$page" | attribute meta content | sed 's/.*url=//')
if [ -z "$next" ]; then
    echo "was refused"
    exit
fi
link=$(fetch --output /dev/null --write-out '%{redirect_url}' "$origin$next")
echo "calls back"
gio open "$link"
