"""`recurra webhooks …`."""

from typing import Annotated

import typer

from app.cli.console import (
    DEFAULT_URL,
    ApiKey,
    AsJson,
    Url,
    age,
    connect,
    notes,
    output,
    print_json,
    print_table,
)

app = typer.Typer(
    help="Webhooks of a project: list, show, add, test, deliveries, remove.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MAX_WEBHOOKS = 200  # in a list; a project has fewer
WebhookId = Annotated[str, typer.Argument(help="The webhook, wh_…")]


@app.command("list")
def list_(*, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the project's webhooks, newest first."""
    with connect(url, api_key, as_json=as_json) as client:
        entries = client.pages("/v1/webhooks", MAX_WEBHOOKS)
    if as_json:
        print_json(entries)
        return
    rows = [
        (one["id"], one["url"], ", ".join(one["events"]), one["omitted"], one["description"],
         age(one["created_at"]))
        for one in entries
    ]  # fmt: skip
    print_table(["webhook", "url", "events", "omitted#", "description", "age#"], rows)


@app.command()
def show(
    webhook_id: WebhookId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one webhook; its secret is shown only when it is added."""
    with connect(url, api_key, as_json=as_json) as client:
        webhook = client.get(f"/v1/webhooks/{webhook_id}")
    if as_json:
        print_json(webhook)
        return
    fields = {**webhook, "events": ", ".join(webhook["events"])}
    names = ("url", "events", "description", "omitted", "created_at")
    print_table(["", webhook["id"]], [(name, fields[name]) for name in names])


@app.command()
def add(
    target: Annotated[str, typer.Argument(help="The URL, of a host that the operator allows.")],
    *,
    event: Annotated[
        list[str], typer.Option(help="What is sent, such as job.succeeded; may be given several times.")
    ],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Have events sent to a URL, and print the secret that signs them, this once."""
    with connect(url, api_key, as_json=as_json) as client:
        made = client.create_webhook(target, event, description)
    if as_json:
        print_json(made)
        return
    output().print(made["secret"], markup=False, soft_wrap=True)
    notes().print(
        f"{made['id']} is sent {', '.join(made['events'])}. The secret signs them, and is shown this once.",
        style="dim",
        soft_wrap=True,
    )


@app.command("test")
def send_test(
    webhook_id: WebhookId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Send an event of the type webhook.test, which says nothing."""
    with connect(url, api_key, as_json=as_json) as client:
        delivery = client.test_webhook(webhook_id)
    if as_json:
        print_json(delivery)
        return
    output().print(f"{delivery['id']} is queued")
    hint = f"See how it ended with: recurra webhooks deliveries {webhook_id}"
    notes().print(hint, style="dim", soft_wrap=True)


@app.command()
def deliveries(
    webhook_id: WebhookId,
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent to a webhook and with what result, newest first."""
    with connect(url, api_key, as_json=as_json) as client:
        entries = client.pages(f"/v1/webhooks/{webhook_id}/deliveries", limit)
    if as_json:
        print_json(entries)
        return
    rows = [
        (one["id"], one["type"], one["status"], one["attempts"], one["error"] or one["response_status"],
         one["next_attempt_at"], age(one["created_at"]))
        for one in entries
    ]  # fmt: skip
    print_table(["delivery", "event", "status", "attempts#", "answer", "next attempt", "age#"], rows)


@app.command()
def remove(
    webhook_id: WebhookId, *, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Send nothing more to a webhook, and delete it with its deliveries."""
    with connect(url, api_key, as_json=as_json) as client:
        client.delete_webhook(webhook_id)
    result = {"webhook": webhook_id, "deleted": True}
    print_json(result) if as_json else output().print(f"{webhook_id} is removed")
