// Uploads, trains, polls, predicts and sweeps, with the types of `schema.ts`, which is made from the document.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Answer<T> = { data?: T; error?: unknown; response: Response };

const history = Array.from({ length: 72 }, (_, month) => 100 + month + 5 * (month % 12));
const client = createClient<paths>({ baseUrl: process.argv[2]! });

function unwrap<T>({ data, error, response }: Answer<T>): T {
  if (data === undefined) throw new Error(`${response.status}: ${JSON.stringify(error)}`);
  return data;
}

function check(isTrue: boolean, what: unknown): void {
  if (!isTrue) throw new Error(JSON.stringify(what));
}

async function finished<T extends { status: Schemas["Status"] }>(poll: () => Promise<T>): Promise<T> {
  for (;;) {
    const found = await poll();
    if (["succeeded", "failed", "cancelled"].includes(found.status)) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
}

const rows = history.map((value, month) => `a,${2015 + Math.floor(month / 12)}-${(month % 12) + 1}-01,${value}`);
const form = new FormData();
form.append("file", new Blob([["unique_id,ds,y", ...rows].join("\n")]), "shop.csv");
form.append("task", "forecasting" satisfies Schemas["TaskName"]);
const dataset = unwrap(
  await client.POST("/v1/datasets", {
    body: { file: "", task: "forecasting" },
    bodySerializer: () => form,
  }),
);

const job = {
  task: "forecasting",
  dataset: dataset.id,
  model: "typescript",
  options: { horizon: 6 },
  network: { hidden_size: 8 },
  training: { epochs: 1, batch_size: 512 },
} as const satisfies Schemas["JobIn"];
const { id: job_id } = unwrap(await client.POST("/v1/jobs", { body: job }));
const done = await finished(async () =>
  unwrap(await client.GET("/v1/jobs/{job_id}", { params: { path: { job_id } } })),
);
check(done.status === "succeeded" && done.model_version === 1, done);

const answer = unwrap(
  await client.POST("/v1/models/{name}/predict", {
    params: { path: { name: "typescript" } },
    body: { instances: [{ values: history, item_id: "x" }], parameters: { horizon: 3 } },
  }),
) as Schemas["ForecastingPredictOut"];
check(answer.version === 1 && answer.predictions[0]?.mean.length === 3, answer);

const search = { ...job, model: "typescript-swept", search: { "network.cell": ["gru", "rnn"] }, seeds: 1 };
const { id: sweep_id } = unwrap(await client.POST("/v1/sweeps", { body: search }));
const sweep = await finished(async () =>
  unwrap(await client.GET("/v1/sweeps/{sweep_id}", { params: { path: { sweep_id } } })),
);
check(sweep.status === "succeeded" && sweep.leaderboard.length === 2, sweep);

// @ts-expect-error: an option of another task
({ ...job, options: { max_tokens: 3 } }) satisfies Schemas["JobIn"];
