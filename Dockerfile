# The image is /wait alone: COPY --from=compose-wait /wait /wait
ARG RUST_IMAGE=rust:1-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
# On musl a binary is static by nature, on gnu by crt-static; that flag needs the target to be
# named, or else it would be in force for the build scripts too.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    target=$(rustc --print host-tuple) \
 && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin wait --target "$target" \
 && cp "target/$target/release/wait" /wait

FROM scratch
COPY --from=build /wait /wait
ENTRYPOINT ["/wait"]
