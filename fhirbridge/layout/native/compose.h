/* Composing: the atoms of a body, and the shares of its groups. */

static const char EXTENSION[] = "\"extension\":[";
static const char URL[] = "{\"url\":\"";
#define MOST_ATOMS 256

typedef struct {
    PyObject_HEAD
    Whole whole;
    PyObject *members, *items; /* dicts: the name of a member or the URL of an item -> the node where it begins */
    PyObject *claims;          /* whether such atoms are for this kind, or NULL where that is certain */
    PyObject *shares;          /* a dict: an atom, or a tuple of atoms, that a group has -> Share */
    PyObject *absent;          /* the values of all fields where no group has an atom */
    PyObject *judged;          /* a dict: atoms -> what `claims` said of them */
    Py_ssize_t rules;
    int *groups;   /* of each rule: its group, by the number of one of its rules */
    char *needed;  /* of each group: whether it was never seen without an atom */
} Composer;

static PyTypeObject *ComposerType;

typedef struct {
    Atom *atoms[MOST_ATOMS]; /* held */
    Py_ssize_t starts[MOST_ATOMS]; /* the first slot of each */
    Py_ssize_t count;
    Found found;
} Parts;

static int
begins_with(const char *body, Py_ssize_t size, Py_ssize_t at, const char *text, Py_ssize_t length)
{
    return length <= size - at && memcmp(body + at, text, (size_t)length) == 0;
}

/* The node where the atom at a position begins, borrowed, by its name; NULL, perhaps with an exception. */
static Node *
named(PyObject *known, const char *body, Py_ssize_t size, Py_ssize_t start)
{
    const char *quote = start < size ? memchr(body + start, '"', (size_t)(size - start)) : NULL;
    PyObject *name, *node;
    if (quote == NULL) {
        return NULL;
    }
    name = PyBytes_FromStringAndSize(body + start, quote - (body + start));
    if (name == NULL) {
        return NULL;
    }
    node = PyDict_GetItemWithError(known, name);
    Py_DECREF(name);
    return node != NULL && Py_TYPE(node) == NodeType ? (Node *)node : NULL;
}

static Atom *
atom_at(const Node *begin, const char *body, Py_ssize_t size, Py_ssize_t *position, Found *found)
{
    PyObject *end = begin == NULL ? NULL : walked(begin, body, size, position, found);
    return end != NULL && Py_TYPE(end) == AtomType ? (Atom *)end : NULL;
}

/* The atoms from a position to the end: 1, or 0 where one is unknown, or -1 with an exception. No Python code runs. */
static int
split(Composer *self, const char *body, Py_ssize_t size, Py_ssize_t position, Parts *parts)
{
    Py_ssize_t last = size - 1;
    int inside = 0, opened = 0;
    Atom *previous = NULL;
    while (position < last) {
        Node *likely = previous == NULL ? NULL : previous->likely;
        Py_ssize_t start = parts->found.count, at = position;
        Atom *atom = atom_at(likely, body, size, &at, &parts->found);
        if (atom == NULL) {
            Node *begin;
            if (!inside && !opened && begins_with(body, size, position, EXTENSION, sizeof(EXTENSION) - 1)) {
                inside = opened = 1;
                position += sizeof(EXTENSION) - 1;
            }
            at = position;
            parts->found.count = start;
            begin = inside ? named(self->items, body, size, at + (Py_ssize_t)sizeof(URL) - 1)
                           : named(self->members, body, size, at + 1);
            atom = atom_at(begin, body, size, &at, &parts->found);
            if (atom == NULL) {
                return PyErr_Occurred() ? -1 : 0;
            }
            if (previous != NULL && begin != likely) {
                Py_INCREF(OBJECT(begin));
                previous->likely = begin;
                Py_XDECREF(OBJECT(likely));
            }
        }
        if (atom->in_extension != inside || parts->count == MOST_ATOMS ||
            parts->found.count - start != atom->slots) {
            return 0;
        }
        Py_INCREF(OBJECT(atom));
        parts->atoms[parts->count] = previous = atom;
        parts->starts[parts->count++] = start;
        position = at;
        if (inside && position < size && body[position] == ']') {
            inside = 0;
            position++;
        }
        if (position < size && body[position] == ',') {
            position++;
        }
        else {
            return position == last && !inside && body[last] == '}';
        }
    }
    return 0;
}

/* What a body is made of: the shares of its groups, and where their slots are. */
typedef struct {
    PyObject *shares; /* a tuple */
    Py_ssize_t count, id_place;
    Py_ssize_t *places; /* of the slots of all shares, one after the other */
    PyObject *claimed;  /* borrowed from an atom, or NULL */
} Composition;

/* The share of the atoms of one group, borrowed; NULL, perhaps with an exception. `following` chains them. */
static PyObject *
share_of(Composer *self, const Parts *parts, int first, int count, const int *following)
{
    PyObject *key, *share;
    int index, at = first;
    if (count == 1) {
        share = PyDict_GetItemWithError(self->shares, OBJECT(parts->atoms[first]));
    }
    else {
        key = PyTuple_New(count);
        if (key == NULL) {
            return NULL;
        }
        for (index = 0; index < count; index++, at = following[at]) {
            Py_INCREF(OBJECT(parts->atoms[at]));
            PyTuple_SetItem(key, index, OBJECT(parts->atoms[at]));
        }
        share = PyDict_GetItemWithError(self->shares, key);
        Py_DECREF(key);
    }
    return share != NULL && Py_TYPE(share) == ShareType ? share : NULL;
}

/* Bring the atoms of each group together: 1, 0 where that is not known, -1 with an exception. No Python code runs. */
static int
compose(Composer *self, const Parts *parts, Composition *made)
{
    int following[MOST_ATOMS], order[MOST_ATOMS], groups = 0, index;
    int *work = PyMem_Calloc((size_t)self->rules * 3 + 1, sizeof(int)); /* of each group: first, last, count */
    Py_ssize_t last_rule = -1, total = 0, rule;
    int answer = 0;
    int *first = work, *last = work + self->rules, *count = work + 2 * self->rules;
    if (work == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    made->id_place = -1;
    for (index = 0; index < parts->count; index++) {
        const Atom *atom = parts->atoms[index];
        if (atom->rule < 0) {
            /* The resource id, which is one slot; a second one is no FHIR. */
            if (made->id_place >= 0 || atom->slots != 1) {
                goto done;
            }
            made->id_place = parts->starts[index];
        }
        else {
            int group;
            if (atom->rule >= self->rules) {
                goto done;
            }
            group = self->groups[atom->rule];
            if (count[group] == 0) {
                first[group] = index;
                order[groups++] = group;
            }
            else {
                following[last[group]] = index;
            }
            last[group] = index;
            count[group]++;
        }
        if (atom->in_extension) {
            /* Extensions are written in the order of the rules. */
            if (atom->rule < last_rule) {
                goto done;
            }
            last_rule = atom->rule;
        }
        else if (atom->claimed != NULL) {
            made->claimed = atom->claimed;
        }
    }
    for (rule = 0; rule < self->rules; rule++) {
        if (self->needed[rule] && count[rule] == 0) {
            goto done;
        }
    }
    if (made->id_place < 0) {
        goto done;
    }
    made->shares = PyTuple_New(groups);
    made->places = PyMem_Calloc((size_t)parts->found.count + 1, sizeof(Py_ssize_t));
    if (made->shares == NULL || made->places == NULL) {
        answer = -1;
        if (made->places == NULL) {
            PyErr_NoMemory();
        }
        goto done;
    }
    for (index = 0; index < groups; index++) {
        int group = order[index], at = first[group], one;
        Py_ssize_t begin = total, slot;
        PyObject *share = share_of(self, parts, at, count[group], following);
        if (share == NULL) {
            answer = PyErr_Occurred() ? -1 : 0;
            goto done;
        }
        for (one = 0; one < count[group]; one++, at = following[at]) {
            for (slot = 0; slot < parts->atoms[at]->slots; slot++) {
                made->places[total++] = parts->starts[at] + slot;
            }
        }
        if (total - begin != ((Share *)share)->slots) {
            goto done;
        }
        Py_INCREF(share);
        PyTuple_SetItem(made->shares, index, share);
    }
    made->count = groups;
    answer = 1;
done:
    PyMem_Free(work);
    return answer;
}
