#!/usr/bin/env bash
# What action.yml runs: downloads a release's binary, checks its sum, puts it on the PATH of the steps that
# follow as compose-wait, and waits.
set -euo pipefail

case $RUNNER_OS-$RUNNER_ARCH in
  Linux-X64) platform=linux-amd64 ;;
  Linux-X86) platform=linux-386 ;;
  Linux-ARM64) platform=linux-arm64 ;;
  Linux-ARM) platform=linux-arm-v7 ;;
  macOS-ARM64) platform=macos-arm64 ;;
  macOS-X64) platform=macos-amd64 ;;
  *) echo "::error::there is no compose-wait for $RUNNER_OS on $RUNNER_ARCH" && exit 1 ;;
esac
binary=wait-$platform
if [ -z "$VERSION" ] && [[ $REF =~ ^v[0-9]+\.[0-9]+\.[0-9]+ ]]; then
  VERSION=$REF
fi
# COMPOSE_WAIT_DOWNLOADS is the place of a release's files, if they are not on GitHub.
releases=https://github.com/$REPOSITORY/releases
[ -n "$VERSION" ] && release=$releases/download/v${VERSION#v} || release=$releases/latest/download
release=${COMPOSE_WAIT_DOWNLOADS:-$release}

folder=$RUNNER_TEMP/compose-wait
mkdir -p "$folder"
cd "$folder"
for file in "$binary" SHA256SUMS; do
  curl --fail --silent --show-error --location --retry 3 --output "$file" "$release/$file"
done
command -v sha256sum >/dev/null || sha256sum() { shasum -a 256 "$@"; } # macOS
grep " $binary\$" SHA256SUMS | sha256sum --check --status || {
  echo "::error::$release/$binary does not have the sum in SHA256SUMS" && exit 1
}
chmod +x "$binary"
mv "$binary" compose-wait
echo "$folder" >>"$GITHUB_PATH"

[ -z "$TARGETS" ] || export WAIT_HOSTS=$TARGETS
[ -z "$TIMEOUT" ] || export WAIT_TIMEOUT=$TIMEOUT
cd "$GITHUB_WORKSPACE"
exec "$folder/compose-wait"
