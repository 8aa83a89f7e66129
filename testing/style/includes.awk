# SPDX-License-Identifier: Apache-2.0
# Prints every #include of the C files given that ARCHITECTURE's layers forbid. Runs at the top of the tree.

BEGIN {
    rank["libcore/base"] = 0
    rank["libcore/run"] = 1
    rank["libcore/crypto"] = rank["libcore/cred"] = rank["libcore/conf"] = 2
    rank["libcore/plugin"] = 3
    rank["daemon/core"] = rank["daemon/wire"] = rank["daemon/policy"] = 4
    rank["daemon/net"] = rank["daemon/kernel"] = rank["daemon/auth"] = 5
    rank["daemon/sa"] = 6
    rank["daemon/ikev1"] = rank["daemon/ikev2"] = 7
    rank["daemon/watch"] = rank["daemon/control"] = 8
    rank["daemon"] = 9
    rank["daemon/loadtest"] = 10
}

function dirname(path) { return sub(/\/[^\/]*$/, "", path) ? path : "." }
function exists(path,    line, found) { found = (getline line < path) >= 0; close(path); return found }
function fault(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, target, why }

# daemon/sa/sub/x.h is in the layer daemon/sa, daemon/main.c in daemon
function layer_of(path,    part, n) {
    n = split(path, part, "/")
    return n > 2 ? part[1] "/" part[2] : part[1]
}

function check_layered(    to) {
    if (target !~ /^(libcore|daemon)\//) {
        if (target ~ /^(cygnet\/|config\.h$)/)
            return
        if (!exists(dir "/" target) || target ~ /\.\./)
            fault("include it as \"libcore/...\" or \"daemon/...\"")
        return
    }
    to = layer_of(target)
    if (!(to in rank))
        fault("in no layer")
    else if (rank[to] > rank[from])
        fault(to " is above " from)
    else if (to != from && rank[to] == 7 && rank[from] == 7)
        fault("ikev1 and ikev2 do not include each other")
}

function check_plugin(    own) {
    if (target ~ /^cygnet\// || target == "config.h")
        return
    # built from the same files
    if (target == "plugins/socket-default/sockets.h" && path ~ /^plugins\/socket-reuseport\//)
        return
    if (target ~ /\.\./ || !exists(dir "/" target))
        fault("a plugin includes <cygnet/*.h>, its own files and libraries only")
}

FNR == 1 {
    path = FILENAME
    dir = dirname(path)
    sub(/^src\//, "", path)
    if (path ~ /^(libcore|daemon)\//)
        kind = "layered"
    else if (path ~ /^plugins\/[^\/]*\/test_[^\/]*$/)
        kind = "test"
    else if (path ~ /^plugins\//)
        kind = "plugin"
    else if (path ~ /^include\//)
        kind = "public"
    else
        kind = "tool"
    from = layer_of(path)
    if (kind == "layered" && !(from in rank))
        printf "%s: in no layer\n", FILENAME
}

/^[ \t]*#[ \t]*include/ {
    target = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", target)
    open = substr(target, 1, 1)
    if (open != "\"" && open != "<") {
        fault("name the file")
        next
    }
    target = substr(target, 2)
    sub(/[">].*/, "", target)
    ours = target ~ /^(\.\.\/|libcore\/|daemon\/|ipsec\/|plugins\/|src\/)/
    if (kind == "test" || (open == "<" && !ours))
        next
    if (kind == "layered")
        check_layered()
    else if (kind == "plugin")
        check_plugin()
    else if (kind == "public")
        fault("a public header includes <cygnet/*.h> and the system's only")
    else if (target !~ /^(libcore\/|ipsec\/|cygnet\/|config\.h$)/ && (target ~ /\.\./ || !exists(dir "/" target)))
        fault("the control tool includes \"libcore/...\" and its own files only")
}
