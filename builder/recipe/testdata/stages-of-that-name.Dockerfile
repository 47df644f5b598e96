# Cooper wrote this from the component block in .cooper/c.hcl.
# To take over, commit it as Dockerfile. The stage component-stage holds the component's files and nothing else.
# It needs a named context build: the component build at v1.
# It needs a named context component: the component component at v1.

FROM debian:bookworm AS build-stage
ENV LC_ALL=C.UTF-8 TZ=UTC

# Where steps find what this component depends on.
ENV CMAKE_PREFIX_PATH=/deps/build:/deps/component
ENV PKG_CONFIG_PATH=/deps/build/lib/pkgconfig:/deps/build/lib64/pkgconfig:/deps/build/share/pkgconfig:/deps/build/lib/x86_64-linux-gnu/pkgconfig:/deps/build/lib/aarch64-linux-gnu/pkgconfig:/deps/component/lib/pkgconfig:/deps/component/lib64/pkgconfig:/deps/component/share/pkgconfig:/deps/component/lib/x86_64-linux-gnu/pkgconfig:/deps/component/lib/aarch64-linux-gnu/pkgconfig
ENV CPATH=/deps/build/include:/deps/component/include
ENV LIBRARY_PATH=/deps/build/lib:/deps/build/lib64:/deps/build/lib/x86_64-linux-gnu:/deps/build/lib/aarch64-linux-gnu:/deps/component/lib:/deps/component/lib64:/deps/component/lib/x86_64-linux-gnu:/deps/component/lib/aarch64-linux-gnu
ENV LD_LIBRARY_PATH=/deps/build/lib:/deps/build/lib64:/deps/build/lib/x86_64-linux-gnu:/deps/build/lib/aarch64-linux-gnu:/deps/component/lib:/deps/component/lib64:/deps/component/lib/x86_64-linux-gnu:/deps/component/lib/aarch64-linux-gnu
ENV PATH=/deps/build/bin:/deps/component/bin:$PATH

RUN mkdir -p /out
WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH

RUN --mount=type=bind,from=build,target=/deps/build \
    --mount=type=bind,from=component,target=/deps/component \
    make

FROM scratch AS component-stage
COPY --from=build-stage /out /
