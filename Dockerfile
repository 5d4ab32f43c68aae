# One image for every process: `api`, `worker`, `db upgrade`. It is not needed for `make demo`.
FROM python:3.11-slim
WORKDIR /opt/sluice
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY models models
COPY tools tools
COPY producer producer
COPY worker worker
RUN pip install --no-cache-dir --no-deps --editable . && useradd --create-home sluice
USER sluice
WORKDIR /home/sluice
ENTRYPOINT ["sluice"]
CMD ["worker"]
