// Drives every endpoint of Doppler's SDK for Node that is about secrets and leases, and prints what
// each gave, or its error, as one JSON object. Usage: node sdk.mjs MODULE URL TOKEN
const [module, url, token] = process.argv.slice(2);
const { DopplerSDK } = await import(module);
const sdk = new DopplerSDK({ accessToken: token });
sdk.setBaseUrl(url);

const [project, config, secret] = ["app", "dev", "AWS_USER"];
const results = {};

async function call(name, f) {
	try {
		return (results[name] = await f());
	} catch (error) {
		results[name] = { status: error.statusCode, detail: error.detail };
	}
}

await call("me", () => sdk.auth.me());
await call("download", () => sdk.secrets.download(project, config, { format: "json" }));
await call("transformed", () =>
	sdk.secrets.download(project, config, {
		format: "json",
		nameTransformer: "camel",
		secrets: "GREETING",
	}));
await call("leased", () =>
	sdk.secrets.download(project, config, {
		format: "json",
		includeDynamicSecrets: true,
		dynamicSecretsTtlSec: 60,
	}));
await call("list", () => sdk.secrets.list(project, config, { secrets: "GREETING" }));
await call("leasedList", () =>
	sdk.secrets.list(project, config, { includeDynamicSecrets: true }));
await call("get", () => sdk.secrets.get(project, config, "GREETING"));
await call("names", () => sdk.secrets.names(project, config, { includeDynamicSecrets: true }));
const lease = await call("issue", () =>
	sdk.dynamicSecrets.issueLease({ project, config, dynamic_secret: secret, ttl_sec: 60 }));
const revoke = () =>
	sdk.dynamicSecrets.revokeLease({
		project,
		config,
		dynamic_secret: secret,
		slug: lease.id,
	});
await call("revoke", revoke);
await call("otherConfig", () => sdk.secrets.download(project, "prd", { format: "json" }));
await call("otherFormat", () => sdk.secrets.download(project, config, { format: "toml" }));
await call("otherSecret", () =>
	sdk.dynamicSecrets.issueLease({ project, config, dynamic_secret: "NONE", ttl_sec: 60 }));
console.log(JSON.stringify(results));
