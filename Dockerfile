# The image is /wait alone: COPY --from=compose-wait /wait /wait
#
#   docker build --tag compose-wait .                                          for this machine
#   docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7 .      for others too
ARG RUST_IMAGE=rust:1-slim

# Whatever it builds for, the compiler runs on this machine: no emulation.
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
WORKDIR /build
ARG BUILDPLATFORM TARGETPLATFORM
# The cross-compiler and the standard library for the platform, unless they are there.
RUN case "$TARGETPLATFORM" in \
      "$BUILDPLATFORM") target=$(rustc --print host-tuple) tools= ;; \
      linux/amd64) target=x86_64-unknown-linux-gnu tools=x86_64-linux-gnu ;; \
      linux/arm64) target=aarch64-unknown-linux-gnu tools=aarch64-linux-gnu ;; \
      linux/arm/v7) target=armv7-unknown-linux-gnueabihf tools=arm-linux-gnueabihf ;; \
      linux/386) target=i686-unknown-linux-gnu tools=i686-linux-gnu ;; \
      linux/ppc64le) target=powerpc64le-unknown-linux-gnu tools=powerpc64le-linux-gnu ;; \
      linux/riscv64) target=riscv64gc-unknown-linux-gnu tools=riscv64-linux-gnu ;; \
      linux/s390x) target=s390x-unknown-linux-gnu tools=s390x-linux-gnu ;; \
      *) echo "no target is known for $TARGETPLATFORM" >&2 && exit 1 ;; \
    esac \
 && echo "$target" >/target \
 && if [ -n "$tools" ]; then \
      echo "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=$tools-gcc" >/linker \
      && if ! command -v "$tools-gcc"; then \
        apt-get update -q && apt-get install -y -q "gcc-$(echo "$tools" | tr _ -)"; \
      fi \
      && if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then \
        rustup target add "$target"; \
      fi; \
    fi
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
# On musl a binary is static by nature, on gnu by crt-static; that flag needs the target to be
# named, or else it would be in force for the build scripts too. The sources are touched because the
# cache is that of every checkout on this machine, and cargo goes by what is newer. Relative relocations
# and functions that are alike are a twentieth of the file; not every linker packs and joins them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    target=$(cat /target) \
 && case "$target" in x86_64-*-gnu) pack='-C link-arg=-Wl,-z,pack-relative-relocs,--icf=all' ;; *) pack= ;; esac \
 && touch /linker src/lib.rs src/main.rs && export $(cat /linker) \
 && export RUSTFLAGS="-C target-feature=+crt-static $pack" \
 && cargo build --release --locked --bin wait --target "$target" \
 && cp "target/$target/release/wait" /wait

FROM scratch
LABEL org.opencontainers.image.title="compose-wait" \
      org.opencontainers.image.description="Waits until databases, ports, files and web services are really ready, then becomes your command" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /wait /wait
ENTRYPOINT ["/wait"]
