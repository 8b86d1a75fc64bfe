/* Closed classes of text. */

static int
is_digit(char one)
{
    return one >= '0' && one <= '9';
}

static int
two(const char *text)
{
    return is_digit(text[0]) && is_digit(text[1]) ? (text[0] - '0') * 10 + (text[1] - '0') : -1;
}

/* YYYY-MM-DD, a day that exists. The text has ten characters at least. */
static int
is_day(const char *text)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century = two(text), year = two(text + 2), month = two(text + 5), day = two(text + 8), leap, last;
    if (century < 0 || year < 0 || (century == 0 && year == 0) || month < 1 || month > 12 || day < 1) {
        return 0;
    }
    if (text[4] != '-' || text[7] != '-') {
        return 0;
    }
    leap = year ? year % 4 == 0 : century % 4 == 0;
    last = month == 2 && leap ? 29 : days[month - 1];
    return day <= last;
}

/* THH:MM:SS, perhaps a fraction, and an offset. */
static int
is_clock(const char *text, Py_ssize_t length)
{
    Py_ssize_t at = 9;
    int hour, minute, second;
    if (length < 10 || text[0] != 'T' || text[3] != ':' || text[6] != ':') {
        return 0;
    }
    hour = two(text + 1);
    minute = two(text + 4);
    second = two(text + 7);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        return 0;
    }
    if (text[at] == '.') {
        Py_ssize_t first = ++at;
        while (at < length && is_digit(text[at])) {
            at++;
        }
        if (at == first || at - first > 9) {
            return 0;
        }
    }
    if (length - at == 1) {
        return text[at] == 'Z';
    }
    if (length - at != 6 || (text[at] != '+' && text[at] != '-') || text[at + 3] != ':') {
        return 0;
    }
    hour = two(text + at + 1);
    minute = two(text + at + 4);
    return (hour >= 0 && hour <= 13 && minute >= 0 && minute <= 59) || (hour == 14 && minute == 0);
}

enum { ASK = 0, WORDS, WORD, DAY, DAY_OR_MOMENT, MOMENT, RULES };

/* Whether a text is certainly of a class; what is not, the Python function decides. */
static int
is_plain(int rule, Py_ssize_t limit, const char *text, Py_ssize_t length)
{
    Py_ssize_t at, spaces = 0;
    switch (rule) {
    case WORDS:
    case WORD:
        if (length < 1 || length > limit) {
            return 0;
        }
        for (at = 0; at < length; at++) {
            char one = text[at];
            if (one < 0x20 || one > 0x7e || one == '\\' || one == '"') {
                return 0;
            }
            spaces += one == ' ';
        }
        return rule == WORD ? spaces == 0 : spaces < length;
    case DAY:
        return length == 10 && is_day(text);
    case DAY_OR_MOMENT:
        return length >= 10 && is_day(text) && (length == 10 || is_clock(text + 10, length - 10));
    case MOMENT:
        return length > 10 && is_day(text) && is_clock(text + 10, length - 10);
    default:
        return 0;
    }
}
