#!/bin/bash
# Health check where there is no HTTP client: http_ready.sh PORT PATH succeeds when the answer is 200.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
