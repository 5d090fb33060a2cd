#!/bin/sh
# A whole session with curl and jq: `URL=... TOKEN=... sh session.sh`.
set -eu

URL=${URL:-http://127.0.0.1:8000/graphql}
: "${TOKEN:?is missing: export TOKEN=\$(make -s token)}"

# Runs an operation; $1 is the document, $2 its variables as JSON. Fails where there are errors.
ask() {
    jq -n --arg query "$1" --argjson variables "${2:-null}" '{$query, $variables}' |
        curl -sS "$URL" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d @- |
        jq -e 'if .errors then .errors[0] | "\(.extensions.code): \(.message)\n" | halt_error else .data end'
}

made=$(ask 'mutation { createSandbox(input: {start: true}) { sandbox { id } } }')
id=$(echo "$made" | jq -r .createSandbox.sandbox.id)
trap 'ask "mutation (\$id: ID!) { deleteSandbox(input: {sandboxId: \$id}) { deletedSandboxId } }" \
    "{\"id\": \"$id\"}" > /dev/null' EXIT

# Live, as server-sent events: a line `data: {...}` each.
code='open("answer.txt", "w").write("42\n")
for word in ["live", "output"]: print(word, flush=True)'
jq -n --arg id "$id" --arg code "$code" '{
    query: "subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) {
        seq ... on OutputChunk { stream text } ... on ExecutionFinished { status } } }",
    variables: {input: {sandboxId: $id, $code}}
}' | curl -sSN "$URL" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -H 'Accept: text/event-stream' -d @- |
    sed -un 's/^data: //p' | jq -c --unbuffered '.data.executeCode // .errors'

# A file comes by an address that needs no token.
found=$(ask 'query ($id: ID!) { sandbox(id: $id) { file(path: "answer.txt") { downloadUrl } } }' \
    "{\"id\": \"$id\"}")
curl -sSf "$(echo "$found" | jq -r .sandbox.file.downloadUrl)"
