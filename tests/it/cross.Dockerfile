# A compiler for other platforms than this machine's, from Debian's packages, and an emulator to try
# what it makes.
ARG DEBIAN_IMAGE=debian:bookworm-slim
FROM ${DEBIAN_IMAGE}
RUN dpkg --add-architecture arm64 \
 && apt-get update -q \
 && apt-get install -y -q --no-install-recommends \
      cargo-web rustc-web libstd-rust-web-dev:arm64 gcc libc6-dev \
      gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static \
 && rm -rf /var/lib/apt/lists/*
