#!/bin/bash
# Health checks of containers: `recurra-healthy api|page [PORT]`, `recurra-healthy train`, `recurra-healthy serve`.
# They run every few seconds for as long as a container lives, beside trainings, so they start no Python.
case "$1" in
api | page)  # the process answers; asks nobody else
    port=${2:-$([[ $1 == api ]] && echo 8000 || echo 8001)}
    exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
    printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
    IFS= read -r -t 4 status <&3
    [[ $status == 'HTTP/1.1 200 '* ]]
    ;;
train | serve)  # a worker on this host has reported to the database in the last 20 seconds, see app/infrastructure/liveness.py
    reports="${RECURRA_DATA_DIR:-.recurra}/workers/$(uname -n)"
    [[ -n $(find "$reports" -maxdepth 1 -name "$1.*" -newermt '20 seconds ago' -print -quit 2>/dev/null) ]]
    ;;
*)
    echo "usage: recurra-healthy api|page [PORT] | train | serve" >&2
    exit 2
    ;;
esac
