// A series as the server describes it: [scope, name, index, label, values of the sliders after the first].

export const SCOPE = 0, NAME = 1, INDEX = 2, LABEL = 3, VALUES = 4;
