"""As much of S3 as it takes to see whether a bucket takes and gives, with a key's signature (AWS signature, version 4)."""
import datetime
import hashlib
import hmac
import urllib.error
import urllib.request


def request(endpoint, path, method, key_id, secret, body=b"", region="us-east-1"):
    """Sends one request; returns its status, or 0 when nobody answers."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": endpoint.split("://")[1], "x-amz-content-sha256": digest, "x-amz-date": now}
    names = ";".join(sorted(headers))
    listed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join([method, path, "", listed, names, digest])
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = sign(key, part)
    signature = sign(key, "\n".join(["AWS4-HMAC-SHA256", now, scope, hashed])).hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    asked = urllib.request.Request(endpoint + path, data=body if method == "PUT" else None, headers=headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
