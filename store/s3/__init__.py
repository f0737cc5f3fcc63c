"""S3, once for the whole house. Importing this loads no boto3: its rooms do."""

from store.s3.options import S3Options as S3Options
