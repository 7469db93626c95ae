# An image for processors, and one for NVIDIA GPUs:
#
#     docker build -t sklearn-ternary .
#     docker build -t sklearn-ternary:cuda \
#         --build-arg BASE=nvidia/cuda:12.6.3-runtime-ubuntu24.04 \
#         --build-arg EXTRAS='[gpu]' .
#
#     docker run --rm sklearn-ternary                # what it finds there: doctor
#     docker run --rm --gpus all sklearn-ternary:cuda doctor --gpu
#     docker run --rm -v "$PWD:/data" sklearn-ternary quantize w.npy -o w.safetensors
#
# The base has Python 3.11 or newer. The compiler stays in the first stage.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG EXTRAS=
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir ".${EXTRAS}" -Csetup-args=-Dopenmp=enabled

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 ternary
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
USER ternary
WORKDIR /data
ENTRYPOINT ["sklearn-ternary"]
CMD ["doctor"]
