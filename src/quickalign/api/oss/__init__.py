"""The dialect of an object storage (Alibaba Cloud OSS, path style): enough for uploads, downloads and listings."""
