#!/usr/bin/env bash
# Two network namespaces as two machines: a run of two processes, one in each, over a network of their own,
# is the run of one process.
#
# Run: bash tests/interop/two_machines.sh PROGRAM      (as root; needs mpirun and iproute2)
#
# PROGRAM is what `cargo xtask-mpi --build` prints.
set -euo pipefail

program=$(realpath "$1")
folder=$(mktemp -d)
machines=(byol-a byol-b)

tidy() {
    for machine in "${machines[@]}"; do
        ip netns del "$machine" 2>/dev/null || true
        rm -rf "/etc/netns/$machine"
    done
    rm -rf "$folder"
}
trap tidy EXIT

for machine in "${machines[@]}"; do
    ip netns add "$machine"
    mkdir -p "/etc/netns/$machine"
    printf '127.0.0.1 localhost\n10.77.0.1 byol-a\n10.77.0.2 byol-b\n' >"/etc/netns/$machine/hosts"
done
ip link add eth0 netns byol-a type veth peer name eth0 netns byol-b
i=1
for machine in "${machines[@]}"; do
    ip -n "$machine" address add "10.77.0.$i/24" dev eth0
    ip -n "$machine" link set eth0 up
    ip -n "$machine" link set lo up
    i=$((i + 1))
done

# What ssh is between real machines.
cat >"$folder/enter" <<'AGENT'
#!/bin/sh
machine=$1
shift
exec ip netns exec "$machine" unshare --uts sh -c "hostname $machine; $*"
AGENT
chmod +x "$folder/enter"

recipe=(--threads 1 --loader-threads 1 --batch 32 --seed 3 --set length.steps=20 --set warmup.steps=1
    --set base_lr=1e-3 --set encoder.width=4 --set policy.size=16 --set projector.hidden=16
    --set predictor.hidden=16 --no-knn --no-tensorboard)
"$program" pretrain "${recipe[@]}" --out "$folder/one"
"$folder/enter" byol-a mpirun --allow-run-as-root --host byol-a:1,byol-b:1 -n 2 \
    --mca plm_rsh_agent "$folder/enter" --mca btl tcp,self \
    --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    "$program" pretrain "${recipe[@]}" --out "$folder/two"
bytes=$(ip -n byol-a -s -j link show eth0 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["stats64"]["tx"]["bytes"])')

python3 - "$folder" "$bytes" <<'CHECK'
import json, pathlib, sys

folder, sent = pathlib.Path(sys.argv[1]), int(sys.argv[2])
one, two = (
    [json.loads(line)["loss"] for line in (folder / run / "metrics.jsonl").read_text().splitlines()]
    for run in ("one", "two")
)
gap = max(abs(a - b) for a, b in zip(one, two, strict=True))
print(f"two machines: losses over {len(one)} steps at most {gap:.1e} from those of one; {sent} bytes sent by the first")
assert gap <= 1e-4, "the losses differ"
assert sent > 20 * 100_000, "the machines did not talk over their network"
CHECK
