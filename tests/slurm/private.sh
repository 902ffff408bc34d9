#!/usr/bin/env bash
# private.sh - sourced: a Slurm of our own with two nodes on this machine, all of it in one folder; no systemd, nothing under /etc,
# as root or not. Sets SLURM_CONF.
# shellcheck shell=bash

slurm_commands="munged slurmctld slurmd sbatch srun scontrol sinfo scancel"

slurm_is_here() {
    local command
    for command in $slurm_commands; do
        PATH=$PATH:/usr/sbin command -v "$command" >/dev/null || { echo "$command"; return 1; }
    done
}

# Ports nobody listens at: controller, then nodes.
free_ports() {
    python3 -c '
import socket
held = [socket.socket() for _ in range(3)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))'
}

# slurm_up FOLDER: FOLDER is private to this cluster and short (sockets lie in it).
slurm_up() {
    local folder=$1 host port node idle=0
    host=$(hostname -s 2>/dev/null || cat /etc/hostname)
    read -ra port < <(free_ports)
    chmod 755 "$folder"
    mkdir -p "$folder"/{munge,state,log,spool.n1,spool.n2,tmp.n1,tmp.n2}
    chmod 1777 "$folder"/tmp.n?
    (umask 077 && head -c 128 /dev/urandom >"$folder/munge/key")
    cat >"$folder/slurm.conf" <<C
ClusterName=prle
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${port[0]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
# a requeued job waits for as long as a credential lives
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmdSpoolDir=$folder/spool.%n
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
# both nodes are this machine: steps must not meet in one /tmp
TmpFS=$folder/tmp.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_min_interval=0
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=10
JobRequeue=1
MinJobAge=3600
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=${port[1]} CPUs=4 RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=${port[2]} CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
C
    echo "CgroupAutomount=no" >"$folder/cgroup.conf"
    export SLURM_CONF=$folder/slurm.conf
    PATH=$PATH:/usr/sbin
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --num-threads=2 || return 1
    slurmctld -f "$SLURM_CONF" || return 1
    for node in n1 n2; do slurmd -f "$SLURM_CONF" -N "$node" || return 1; done
    for _ in $(seq 200); do
        idle=$(sinfo -h -N -o %T 2>/dev/null | grep -cx idle || true)
        [ "$idle" -lt 2 ] || return 0
        sleep 0.1
    done
    echo "Slurm did not come up: $idle of 2 nodes are idle" >&2
    tail -n 5 "$folder"/log/*.log >&2
    return 1
}

# Ends the jobs and the daemons; FOLDER stays.
slurm_down() {
    local folder=$1 file pid
    [ -n "${SLURM_CONF:-}" ] || return 0
    scancel --user "$(id -un)" 2>/dev/null
    sleep 0.3
    for file in "$folder"/slurmd.n?.pid "$folder/slurmctld.pid" "$folder/munge/pid"; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null
        for _ in $(seq 80); do
            case $(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null) in '' | Z) break ;; esac # a zombie where nobody reaps
            sleep 0.1
        done
    done
}

# slurm_wait JOB SECONDS: until it is over; prints its state ("COMPLETED 0"), "TIMEOUT" after so long. sbatch --wait looks too seldom.
slurm_wait() {
    local job=$1 end=$((SECONDS + $2)) state
    while [ "$SECONDS" -lt "$end" ]; do
        state=$(scontrol -o show job "$job" | grep -oE 'JobState=[A-Z_]+|ExitCode=[0-9]+' | cut -d= -f2 | tr '\n' ' ')
        case $state in
        COMPLETED* | FAILED* | CANCELLED* | TIMEOUT* | NODE_FAIL* | OUT_OF_MEMORY* | BOOT_FAIL* | DEADLINE*)
            echo "${state% }"
            return 0
            ;;
        *) sleep 0.2 ;; # pending, running, and many words for what lies between
        esac
    done
    echo "still $state after $2 s"
}
