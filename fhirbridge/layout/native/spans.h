/* Spans: where in a body the slots are. */

typedef struct {
    const char *text;
    Py_ssize_t length;
} Span;

#define SPANS_AT_HAND 128

typedef struct {
    Span at_hand[SPANS_AT_HAND];
    Span *spans;
    Py_ssize_t count, room;
} Found;

static void
found_begin(Found *found)
{
    found->spans = found->at_hand;
    found->count = 0;
    found->room = SPANS_AT_HAND;
}

static void
found_end(Found *found)
{
    if (found->spans != found->at_hand) {
        PyMem_Free(found->spans);
    }
}

static int
found_add(Found *found, const char *text, Py_ssize_t length)
{
    if (found->count == found->room) {
        Py_ssize_t room = found->room * 2;
        Span *spans = PyMem_Malloc((size_t)room * sizeof(Span));
        if (spans == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(spans, found->spans, (size_t)found->count * sizeof(Span));
        found_end(found);
        found->spans = spans;
        found->room = room;
    }
    found->spans[found->count].text = text;
    found->spans[found->count].length = length;
    found->count++;
    return 0;
}
