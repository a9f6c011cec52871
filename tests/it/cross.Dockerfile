# A compiler for other platforms than this machine's, from Debian's packages, and an emulator to try
# what it makes.
ARG DEBIAN_IMAGE=debian:bookworm-slim
FROM ${DEBIAN_IMAGE}
# The compiler is new enough among the security updates.
RUN dpkg --add-architecture arm64 \
 && touch /etc/apt/sources.list \
 && sed -n 's#/debian bookworm main$#/debian-security bookworm-security main#p' /etc/apt/sources.list \
      >/etc/apt/sources.list.d/security.list \
 && apt-get update -q \
 && apt-get install -y -q --no-install-recommends \
      cargo-web rustc-web libstd-rust-web-dev:arm64 gcc libc6-dev \
      gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static \
 && rm -rf /var/lib/apt/lists/*
