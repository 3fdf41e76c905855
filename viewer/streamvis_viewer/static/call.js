// Requests to the viewer's own routes, with the page's token.

/** An answer's JSON, or its "blob". Rejects with what the viewer says stood in the way, or that it does not answer. */
export async function call(token, path, body, kind = "json") {
  const options = {headers: {"Streamvis-Page": token}};
  if (body !== undefined) Object.assign(options, {method: "POST", body: JSON.stringify(body)});
  let answer;
  try {
    answer = await fetch(new URL(`../${path}`, import.meta.url), options);
  } catch {
    throw new Error("The viewer does not answer. The page shows what it has, and tries again by itself.");
  }
  if (answer.status === 403) throw new Error("This page belongs to another viewer process, or has lost its access: reload it.");
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer[kind]();
}
