# SPDX-License-Identifier: Apache-2.0
# Turns settings.def, or the NAME.opt of a plugin, into the list of a manual page. An entry is S(...), G(...) or CY_OPTION(...):
# C strings, which may be in pieces, and bare words. -v WORD=TEXT gives a bare word its text; NULL is empty.

function word(w) { return w == "NULL" ? "" : w == "CONTROL_SOCKET" ? CONTROL_SOCKET : w }

# field[1..] of the entry in s
function split_entry(s,    n, c) {
    delete field
    n = 1
    sub(/^[A-Z_]+\(/, "", s)
    while (s != "") {
        c = substr(s, 1, 1)
        if (c == "\"") {
            s = substr(s, 2)
            while ((c = substr(s, 1, 1)) != "\"" && s != "") {
                if (c == "\\") {
                    s = substr(s, 2)
                    c = substr(s, 1, 1)
                }
                field[n] = field[n] c
                s = substr(s, 2)
            }
            s = substr(s, 2)
        } else if (c == ",") {
            n++
            s = substr(s, 2)
        } else if (match(s, /^[A-Za-z_][A-Za-z0-9_]*/)) {
            field[n] = field[n] word(substr(s, 1, RLENGTH))
            s = substr(s, RLENGTH + 1)
        } else
            s = substr(s, 2)
    }
    return n
}

function roff(s) {
    gsub(/\\/, "\\e", s)
    gsub(/-/, "\\-", s)
    if (s ~ /^[.']/)
        s = "\\\\&" s
    return s
}

function bounds(low, high) {
    if (low != "" && high != "")
        return ", " low " to " high
    if (low != "")
        return ", at least " low
    return high != "" ? ", at most " high : ""
}

function entry(s,    type, values) {
    split_entry(s)
    if (s ~ /^G/) {
        printf ".SS %s\n", roff(field[1])
        return
    }
    type = field[2]
    values = ""
    if (type ~ /^enum/) {
        values = type
        sub(/^enum\(/, "", values)
        sub(/\)$/, "", values)
        gsub(/,/, ", ", values)
        type = "one of " values
    }
    printf ".TP\n.BR %s \" = \\fI%s\\fR (%s%s)\"\n", roff(PREFIX field[1]), field[3] == "" ? "empty" : roff(field[3]),
        roff(type), roff(bounds(field[4], field[5]))
    sub(/[.]?$/, ".", field[6])
    print roff(field[6])
}

/^(S|G|CY_OPTION)\(/ { pending = ""; open = 1 }
open {
    pending = pending " " $0
    if ($0 ~ /\)[ \t]*$/) {
        sub(/^ /, "", pending)
        entry(pending)
        open = 0
    }
}
