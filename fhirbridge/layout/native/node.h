/* Node: a segment of a trie, and what follows it. */

typedef struct Node {
    PyObject_HEAD
    PyObject *segment;
    const char *text;
    Py_ssize_t length;
    int quoted, count;
    unsigned char *bytes;
    struct Node **forks;
    struct Node *after_slot;
    PyObject *end;
} Node;

static PyObject *
node_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *segment;
    allocfunc alloc;
    Node *self;
    if (!PyArg_ParseTuple(args, "O!:Node", &PyBytes_Type, &segment)) {
        return NULL;
    }
    alloc = PyType_GetSlot(type, Py_tp_alloc);
    self = (Node *)alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    Py_INCREF(segment);
    self->segment = segment;
    self->text = PyBytes_AsString(segment);
    self->length = PyBytes_Size(segment);
    self->quoted = self->length > 0 && self->text[self->length - 1] == '"';
    return (PyObject *)self;
}

static int
node_traverse(Node *self, visitproc visit, void *arg)
{
    int index;
    Py_VISIT(Py_TYPE(OBJECT(self)));
    for (index = 0; index < self->count; index++) {
        Py_VISIT(self->forks[index]);
    }
    Py_VISIT(self->after_slot);
    Py_VISIT(self->end);
    return 0;
}

static int
node_clear(Node *self)
{
    int count = self->count;
    self->count = 0;
    while (count > 0) {
        /* Py_CLEAR names its argument twice. */
        count--;
        Py_CLEAR(self->forks[count]);
    }
    Py_CLEAR(self->after_slot);
    Py_CLEAR(self->end);
    return 0;
}

static void
node_dealloc(Node *self)
{
    PyTypeObject *type = Py_TYPE(OBJECT(self));
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    PyObject_GC_UnTrack(self);
    node_clear(self);
    Py_XDECREF(self->segment);
    PyMem_Free(self->bytes);
    PyMem_Free(self->forks);
    release(self);
    Py_DECREF(type);
}

static Node *
forked(const Node *self, unsigned char byte)
{
    int index;
    for (index = 0; index < self->count; index++) {
        if (self->bytes[index] == byte) {
            return self->forks[index];
        }
    }
    return NULL;
}

static PyObject *
node_fork(Node *self, PyObject *number)
{
    long byte = PyLong_AsLong(number);
    Node *found;
    if (byte == -1 && PyErr_Occurred()) {
        return NULL;
    }
    found = byte < 0 || byte > 255 ? NULL : forked(self, (unsigned char)byte);
    if (found == NULL) {
        Py_RETURN_NONE;
    }
    Py_INCREF(OBJECT(found));
    return OBJECT(found);
}

/* put_fork(byte, node): a node in the place of another, or a new one. */
static PyObject *
node_put_fork(Node *self, PyObject *args)
{
    unsigned char byte, *bytes;
    PyObject *node, *before;
    Node **forks;
    int index;
    if (!PyArg_ParseTuple(args, "bO!:put_fork", &byte, Py_TYPE(OBJECT(self)), &node)) {
        return NULL;
    }
    Py_INCREF(node);
    for (index = 0; index < self->count; index++) {
        if (self->bytes[index] == byte) {
            before = (PyObject *)self->forks[index];
            self->forks[index] = (Node *)node;
            Py_DECREF(before);
            Py_RETURN_NONE;
        }
    }
    bytes = PyMem_Realloc(self->bytes, (size_t)self->count + 1);
    if (bytes != NULL) {
        self->bytes = bytes;
    }
    forks = PyMem_Realloc(self->forks, ((size_t)self->count + 1) * sizeof(Node *));
    if (forks != NULL) {
        self->forks = forks;
    }
    if (bytes == NULL || forks == NULL) {
        Py_DECREF(node);
        return PyErr_NoMemory();
    }
    self->bytes[self->count] = byte;
    self->forks[self->count] = (Node *)node;
    self->count++;
    Py_RETURN_NONE;
}

/* follow(other): take over what follows another node. */
static PyObject *
node_follow(Node *self, PyObject *other)
{
    Node *from = (Node *)other;
    int index;
    if (Py_TYPE(other) != Py_TYPE(OBJECT(self))) {
        PyErr_SetString(PyExc_TypeError, "a node is wanted");
        return NULL;
    }
    if (self->count || self->after_slot != NULL || self->end != NULL) {
        PyErr_SetString(PyExc_ValueError, "something follows this node already");
        return NULL;
    }
    if (from->count) {
        self->bytes = PyMem_Malloc((size_t)from->count);
        self->forks = PyMem_Malloc((size_t)from->count * sizeof(Node *));
        if (self->bytes == NULL || self->forks == NULL) {
            return PyErr_NoMemory();
        }
        memcpy(self->bytes, from->bytes, (size_t)from->count);
        for (index = 0; index < from->count; index++) {
            Py_INCREF(OBJECT(from->forks[index]));
            self->forks[index] = from->forks[index];
        }
        self->count = from->count;
    }
    Py_XINCREF(OBJECT(from->after_slot));
    self->after_slot = from->after_slot;
    Py_XINCREF(from->end);
    self->end = from->end;
    Py_RETURN_NONE;
}

static PyObject *
node_get_after_slot(Node *self, void *closure)
{
    PyObject *found = self->after_slot == NULL ? Py_None : (PyObject *)self->after_slot;
    Py_INCREF(found);
    return found;
}

static int
node_set_after_slot(Node *self, PyObject *node, void *closure)
{
    PyObject *before = (PyObject *)self->after_slot;
    if (node == NULL || (node != Py_None && Py_TYPE(node) != Py_TYPE(OBJECT(self)))) {
        PyErr_SetString(PyExc_TypeError, "a node or None is wanted");
        return -1;
    }
    self->after_slot = (Node *)or_null(node);
    Py_XDECREF(before);
    return 0;
}

static PyObject *
node_get_end(Node *self, void *closure)
{
    PyObject *found = self->end == NULL ? Py_None : self->end;
    Py_INCREF(found);
    return found;
}

static int
node_set_end(Node *self, PyObject *end, void *closure)
{
    PyObject *before = self->end;
    self->end = end == NULL ? NULL : or_null(end);
    Py_XDECREF(before);
    return 0;
}

static Py_ssize_t
number_end(const char *body, Py_ssize_t size, Py_ssize_t at)
{
    if (at < size && body[at] == '-') {
        at++;
    }
    if (at >= size || !is_digit(body[at])) {
        return -1;
    }
    while (at < size && (is_digit(body[at]) || body[at] == '.' || body[at] == 'e' || body[at] == 'E' ||
                         body[at] == '+' || body[at] == '-')) {
        at++;
    }
    return at;
}

/* From a position to the end of a layout: that end, borrowed, and the position after it; else NULL, with an exception
 * only where there is no memory. */
static PyObject *
walked(const Node *node, const char *body, Py_ssize_t size, Py_ssize_t *position, Found *found)
{
    Py_ssize_t at = *position, end;
    while (node != NULL && node->length <= size - at && memcmp(body + at, node->text, (size_t)node->length) == 0) {
        at += node->length;
        if (node->count && at < size) {
            const Node *following = forked(node, (unsigned char)body[at]);
            if (following != NULL) {
                node = following;
                continue;
            }
        }
        if (node->after_slot == NULL) {
            *position = at;
            return node->end;
        }
        if (node->quoted) {
            const char *quote = memchr(body + at, '"', (size_t)(size - at));
            end = quote == NULL ? -1 : quote - body;
        }
        else {
            end = number_end(body, size, at);
        }
        if (end < 0 || found_add(found, body + at, end - at) < 0) {
            return NULL;
        }
        at = end;
        node = node->after_slot;
    }
    return NULL;
}
