# The commands of this repository. Each installs what it needs and is safe to repeat; README.md tells more.
.PHONY: help demo test lint matrix bench fuzz

help:
	@echo 'make demo    keys, UKI, Secure Boot ISO; boots it, seals and unseals a disk key (about 4 minutes)'
	@echo 'make test    all checks: lint, units, vectors, other tools, the boots (30 to 40 minutes on two cores)'
	@echo 'make lint    format, clippy, documentation, no_std'
	@echo 'make matrix  every boot there is, predicted beside measured registers'
	@echo 'make bench   speed and memory beside other tools'
	@echo 'make fuzz    each fuzz target for a minute (SECONDS_EACH=60)'

demo:
	.ci/setup
	cargo build --release --locked -p trustedboot-imager -p trustedboot-disk-key -p trustedboot-bootlab
	target/release/bootlab demo --output _out

test:
	.ci/test

lint:
	.ci/setup
	.ci/lint

matrix:
	.ci/setup debian13
	cargo build --release --locked -p trustedboot-imager -p trustedboot-disk-key -p trustedboot-bootlab
	target/release/bootlab matrix --output _out/matrix

bench:
	.ci/setup debian13
	cargo bench --locked -p trustedboot-benches

fuzz:
	.ci/fuzz
