// Says whether the service is up, and goes on asking while somebody looks.

const state = document.getElementById("state");

const WORDS = {
  up: "The service is up.",
  down: "The service is not up: it answers, but cannot reach its database, or is about to start. Retry what you sent.",
  unreachable: "The service cannot be reached from here. Check your network, or tell whoever operates it.",
};

// The health check of gRPC, as load balancers use it. The request is an empty message; a message has 5 bytes before it. In the
// response, field 1 (8) is the status, of which 1 is SERVING. Without a healthy worker, there is no message.
async function ask() {
  try {
    const response = await fetch("/grpc.health.v1.Health/Check", {
      method: "POST",
      headers: { "content-type": "application/grpc" },
      body: new Uint8Array(5),
      signal: AbortSignal.timeout(5_000),
    });
    const [field, status] = new Uint8Array(await response.arrayBuffer()).subarray(5);
    return field === 8 && status === 1 ? "up" : "down";
  } catch (error) {
    return error.name === "TimeoutError" ? "down" : "unreachable";
  }
}

async function show() {
  const found = document.hidden ? state.dataset.state : await ask();
  if (found !== state.dataset.state) {
    state.dataset.state = found;
    state.textContent = WORDS[found]; // Only a change is read aloud.
  }
  setTimeout(show, 5_000);
}

show();
