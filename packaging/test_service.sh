#!/usr/bin/env bash
# The service on a booted system, used, upgraded and purged: test_service.sh PACKAGE.deb MODEL.sfq DEMO, run by root on a system that is thrown
# away, which has the package, systemd, curl and util-linux. DEMO is benchmarks/demo.
set -eEuo pipefail
trap 'echo "test_service.sh: line $LINENO: $BASH_COMMAND" >&2; journalctl --no-pager -u slowfast -n 30 >&2' ERR
package=$1 model=$2 demo=$3
{ read -r clip; IFS=$'\t' read -r question truth; } <"$demo/examples/demo.tsv"
base=http://127.0.0.1:8080
refuses() { if "$@" >/dev/null 2>&1; then echo "test_service.sh: it should be refused: $*" >&2; false; fi; }
property() { systemctl show --value -p "$1" slowfast; }
# ask PART: what the answer holds, asked with the key about a part of a message.
ask() {
  printf '{"messages": [{"role": "user", "content": [%s, {"type": "text", "text": "%s"}]}], "temperature": 0, "slow_attention": "all"}' "$1" "$question" |
    curl -sS -H 'Authorization: Bearer of the test' -H 'Content-Type: application/json' -d @- $base/v1/chat/completions
}
awaited() { for _ in $(seq 100); do curl -s -o /dev/null $base/health && return; sleep 0.3; done; false; }

echo "[service] as it comes"
[ "$(systemctl is-enabled slowfast || true)" = disabled ]
[ "$(property ActiveState)" = inactive ]
[ "$(stat -c %a:%U /etc/slowfast/environment)" = 600:root ]
[ -z "$(systemd-analyze verify --man=no slowfast.service 2>&1)" ]
exposure=$(systemd-analyze security --no-pager slowfast.service | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
echo "[service] systemd-analyze security: $exposure"
[ "${exposure%.*}" -lt 2 ]

echo "[service] without a model"
systemctl start slowfast || true
for _ in $(seq 900); do [ "$(property ActiveState)" = failed ] && break; sleep 0.1; done
[ "$(property ActiveState):$(property Result):$(property ExecMainStatus)" = failed:exit-code:1 ]
systemctl reset-failed slowfast
journalctl -u slowfast | grep -F 'serve.yaml: names no model, expected a line such as model: /var/lib/slowfast/model.sfq'

echo "[service] with a model"
install -m 644 "$model" /var/lib/slowfast/model.sfq
install -D -m 644 "$demo/examples/$clip" /srv/clips/clip.mp4
sed -i 's|^#model:|model:|; s|^#media:.*|media: [/srv/clips]|' /etc/slowfast/serve.yaml
sed -i 's|^#SLOWFAST_API_KEY=.*|SLOWFAST_API_KEY="of the test"|' /etc/slowfast/environment
systemctl enable --now slowfast 2>/dev/null
awaited
[ "$(curl -s -o /dev/null -w '%{http_code}' $base/v1/models)" = 401 ]
part='{"type": "video_url", "video_url": "file:///srv/clips/clip.mp4"}'
ask "$part" | grep -F "\"content\":\"$truth\""
file=$(curl -sS --fail-with-body -H 'Authorization: Bearer of the test' -F purpose=vision -F file=@/srv/clips/clip.mp4 $base/v1/files | grep -o '"file-[^"]*"')
ask "{\"type\": \"file\", \"file\": {\"file_id\": $file}}" | grep -F "\"content\":\"$truth\""
ask '{"type": "video_url", "video_url": "file:///etc/passwd"}' | grep file_not_found

echo "[service] what it may do"
pid=$(property MainPID)
status() { sed -n "s/^$1:\s*//p" "/proc/$pid/status"; }
[ "$(status Uid | cut -f1)" -gt 60000 ]
[ "$(status NoNewPrivs):$(status Seccomp):$(status CapEff):$(status CapBnd)" = 1:2:0000000000000000:0000000000000000 ]
inside() { nsenter --mount --target "$pid" "$@"; }
inside touch /var/cache/slowfast/written
inside rm /var/cache/slowfast/written
for place in /etc /usr /var/lib/slowfast /srv/clips /root /boot /var/log; do refuses inside touch $place/written; done
refuses inside ls /dev/kmsg
[ -z "$(inside ls /home)" ]
[ "$(find /var/cache/private/slowfast -type f | wc -l)" -gt 0 ]
[ "$(stat -L -c %a /var/cache/slowfast)" = 700 ]

echo "[service] cameras, restart, end"
kill -SEGV "$pid"
for _ in $(seq 100); do [ "$(property NRestarts)" = 1 ] && break; sleep 0.1; done
[ "$(property NRestarts)" = 1 ]
awaited
cat "$model" >/var/lib/slowfast/model.sfq
for _ in $(seq 200); do [ "$(property NRestarts)" = 2 ] && break; sleep 0.1; done
[ "$(property NRestarts)" = 2 ]
awaited
ask "$part" | grep -F "\"content\":\"$truth\""
install -D -m 644 /usr/share/doc/slowfast/examples/cameras.conf /etc/systemd/system/slowfast.service.d/cameras.conf
systemctl daemon-reload
[ -z "$(systemd-analyze verify --man=no slowfast.service 2>&1)" ]
systemctl restart slowfast
awaited
property DeviceAllow | grep -x 'char-video4linux rw'
[ "$(property PrivateDevices)" = no ]
ask "$part" | grep -F '"cached_tokens":' | grep -vF '"cached_tokens":0' | grep -F "\"content\":\"$truth\""
rm -r /etc/systemd/system/slowfast.service.d
systemctl daemon-reload
systemctl stop slowfast
[ "$(property ActiveState):$(property ExecMainStatus)" = inactive:0 ]

# upgraded VERSION CHANGE: another version of the package, whose configuration file sed changed.
upgraded() {
  rm -rf /opt/next
  dpkg-deb -R "$package" /opt/next
  sed -i "s/^Version: .*/Version: $1/" /opt/next/DEBIAN/control
  sed -i "$2" /opt/next/etc/slowfast/serve.yaml
  dpkg-deb --root-owner-group -Znone --build /opt/next /opt/next.deb >/dev/null
}
echo "[service] upgrades"
systemctl start slowfast
awaited
files=$(cd /var/cache/private/slowfast && find . -type f | sort)
sums=$(md5sum /etc/slowfast/*)
for step in 1 2; do
  pid=$(property MainPID)
  upgraded "99.$step" "$([ $step = 1 ] || echo '$a # A line of another version.')"
  DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i /opt/next.deb
  awaited
  [ "$(property ActiveState)" = active ] && [ "$(property MainPID)" != "$pid" ]
  [ "$(systemctl is-enabled slowfast)" = enabled ]
  [ "$(md5sum /etc/slowfast/environment /etc/slowfast/serve.yaml)" = "$sums" ]
  [ "$(stat -c %a:%U /etc/slowfast/environment)" = 600:root ]
  [ "$(cd /var/cache/private/slowfast && find . -type f | sort)" = "$files" ]
  ask "$part" | grep -F "\"content\":\"$truth\""
done
grep -q 'another version' /etc/slowfast/serve.yaml.dpkg-dist
systemctl stop slowfast
dpkg -i /opt/next.deb
[ "$(property ActiveState)" = inactive ] # what did not run is not started

echo "[service] removed, purged"
systemctl start slowfast
awaited
dpkg --remove slowfast
refuses curl -s $base/health
[ -e /etc/slowfast/serve.yaml ] && [ -n "$(find /var/cache/private/slowfast -type f)" ]
dpkg --purge slowfast
cmp "$model" /var/lib/slowfast/model.sfq # the user's
for path in /etc/slowfast /var/cache/slowfast /var/cache/private/slowfast /etc/systemd/system/multi-user.target.wants/slowfast.service; do
  [ ! -e $path ] && [ ! -L $path ]
done
rm -r /var/lib/slowfast
echo "[service] works"
