// Runs long before the page's modules, and before the stylesheet, for which scripts wait: opens the data websocket, so that the
// first points come while the browser reads Bokeh's script. connection.js takes it over.

window.dataSocket = (({data, token}) => {
  const open = () => {
    const address = new URL(data + location.search, location);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, ["streamvis", token]);
    socket.binaryType = "arraybuffer";
    return socket;
  };
  const socket = open();
  const events = []; // that nobody has heard yet
  socket.onclose = event => events.push(event);
  socket.onmessage = event => {
    if (!events.length) socket.send("painted"); // at first the viewer often says but that it is fetching the points
    events.push(event);
  };
  return {open, socket, events};
})(document.currentScript.dataset);
