#!/usr/bin/env bash
# fairseq-train or fairseq-validate in several processes of this machine, at ports that only this machine reaches:
#
#   bash examples/cluster/one_machine.sh PROCESSES fairseq-train DATA_BIN [option ...]
#
# torchrun itself opens a port on all addresses of the machine; here the processes meet in a file instead, and the port
# that rank 0 opens listens on 127.0.0.1. Needs --user-dir mm_fairseq among the options.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
processes=$1 command=$(command -v "$2") || { echo "error: no $2 in the PATH" >&2; exit 1; }
shift 2

meeting=$(mktemp)
trap 'rm -f "$meeting"' EXIT
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME-lo} NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME-lo}
torchrun --nproc-per-node "$processes" --local-addr 127.0.0.1 --rdzv-backend c10d --rdzv-conf store_type=file \
    --rdzv-endpoint "$meeting" "$command" "$@"
