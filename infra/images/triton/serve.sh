#!/bin/sh
# Start the server as `infra.servers.triton.TritonServer` does. Only who has the key may ask for more than its health; it
# then stands on the command line, which other containers cannot see.
set -eu
key=$(cat "${TRITON_KEY_FILE:-/run/secrets/triton-key}")
protocols=metadata,inference,shared-memory,model-config,model-repository,statistics,trace,logging
set --
for model in "${TRITON_REPOSITORY:=/opt/triton/repository}"/*/config.pbtxt; do
    set -- "$@" "--load-model=$(basename "$(dirname "$model")")"
done
exec "$TRITON_SERVER" \
    --model-repository="$TRITON_REPOSITORY" \
    --backend-directory="$TRITON_BACKENDS" \
    --model-control-mode=explicit \
    "$@" \
    --disable-auto-complete-config \
    --allow-http=false \
    --grpc-address="${TRITON_HOST:-0.0.0.0}" \
    --grpc-port="${TRITON_GRPC_PORT:-8001}" \
    --metrics-address=127.0.0.1 \
    --metrics-port="${TRITON_METRICS_PORT:-8002}" \
    --allow-gpu-metrics=false \
    --exit-timeout-secs=10 \
    --grpc-restricted-protocol="$protocols:millrace-key=$key" \
    --backend-config=python,shm-default-byte-size=16777216
