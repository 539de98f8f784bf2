// Issues one lease by Doppler's SDK for Node and prints it. Usage: node issue.mjs MODULE URL TOKEN
const [module, url, token] = process.argv.slice(2);
const { DopplerSDK } = await import(module);
const sdk = new DopplerSDK({ accessToken: token });
sdk.setBaseUrl(url);
const lease = await sdk.dynamicSecrets.issueLease({
	project: "app",
	config: "dev",
	dynamic_secret: "AWS_USER",
	ttl_sec: 60,
});
console.log(JSON.stringify(lease));
