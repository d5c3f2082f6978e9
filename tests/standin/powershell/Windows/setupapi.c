/* Copyright (c) 2026 postern.mail_gateway contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * setupapi.dll and newdev.dll of the stand-in, as far as a root device is installed and removed with them: a device is made,
 * by a whole id such as ROOT\NAME\0000 or with one that is generated, gets its hardware id, is registered, and then the
 * driver is installed for it. Each registered loopback device becomes an adapter. A device of a known id can be opened and
 * removed, and its adapter goes with it. Texts may be UTF-16 or octets: only letters are looked at.
 */

typedef unsigned long size_t;
void *calloc(size_t, size_t);
void free(void *);
int system(const char *);
int *__errno_location(void);

#define LOOPBACK "MSLOOP"
#define ERROR_INVALID_DATA 13
#define ERROR_INVALID_PARAMETER 87
#define ERROR_DEVINST_ALREADY_EXISTS (int)0xE0000207
#define ERROR_NO_SUCH_DEVINST (int)0xE000020B
#define SPDRP_HARDWAREID 1
#define DIF_REMOVE 0x05
#define DIF_REGISTERDEVICE 0x19

#define DICD_GENERATE_ID 1
#define STANDIN "PYTHONPATH=${STANDIN_PATH:-/opt} PYTHONDONTWRITEBYTECODE=1 ${STANDIN_PYTHON:-python3} -m standin adapter"
#define LONGEST 64
#define MOST 8

struct devices { int made, opened, loopback; char id[LONGEST]; };
/* The ids of devices that are registered and have no driver yet; an empty one is generated. */
static char registered[MOST][LONGEST];
static int waiting;

static int fail(int code) { *__errno_location() = code; return 0; }

/* Whether a text holds another, in any case and with or without zeros between the letters. */
static int holds(const char *text, const char *wanted, int size, int step)
{
    int i, j;
    for (i = 0; text && i < size; i += step) {
        for (j = 0; wanted[j] && i + j * step < size && (text[i + j * step] & ~32) == (wanted[j] & ~32); j++);
        if (!wanted[j]) return 1;
        if (size == 520 && !text[i]) return 0;
    }
    return 0;
}

static int says(const char *text, const char *wanted, int size)
{
    return text && (text[1] ? holds(text, wanted, size, 1) : holds(text, wanted, size, 2));
}

/* The letters, digits, underscores and backslashes of a text: nothing that a shell would understand within quotes. */
static void copy(char *to, const char *text)
{
    int i, step = text[1] ? 1 : 2, length = 0;
    for (i = 0; text[i] && length < LONGEST - 1; i += step) {
        char c = text[i];
        if ((c | 32) >= 'a' && (c | 32) <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '\\') to[length++] = c;
    }
    to[length] = 0;
}

static int has(const char *text, char letter)
{
    for (; *text; text++) if (*text == letter) return 1;
    return 0;
}

/* `standin adapter`, with what is to be done and the id of the device. */
static int standin(const char *what, const char *id)
{
    char command[256];
    const char *parts[] = { STANDIN, what, id[0] ? " --device '" : "", id, id[0] ? "'" : "" };
    int i, length = 0;
    for (i = 0; i < 5; i++) {
        const char *part = parts[i];
        while (*part) command[length++] = *part++;
    }
    command[length] = 0;
    return !system(command);
}

void *SetupDiCreateDeviceInfoList(const void *class, void *window) { return calloc(1, sizeof(struct devices)); }
int SetupDiDestroyDeviceInfoList(struct devices *set) { free(set); return 1; }

int SetupDiCreateDeviceInfo(struct devices *set, const void *name, const void *class, const void *text, void *window, int flags, void *data)
{
    if (!set || !name) return fail(ERROR_INVALID_PARAMETER);
    copy(set->id, name);
    if (flags & DICD_GENERATE_ID) set->id[0] = 0;
    else if (!has(set->id, '\\')) return fail(ERROR_INVALID_PARAMETER);
    else if (standin(" --find 2>/dev/null", set->id)) return fail(ERROR_DEVINST_ALREADY_EXISTS);
    set->made = 1;
    return 1;
}

int SetupDiOpenDeviceInfo(struct devices *set, const void *id, void *window, int flags, void *data)
{
    if (!set || !id) return fail(ERROR_INVALID_PARAMETER);
    copy(set->id, id);
    if (!standin(" --find 2>/dev/null", set->id)) return fail(ERROR_NO_SUCH_DEVINST);
    set->opened = 1;
    return 1;
}
int SetupDiOpenDeviceInfoA(struct devices *s, const void *i, void *w, int f, void *d) { return SetupDiOpenDeviceInfo(s, i, w, f, d); }
int SetupDiOpenDeviceInfoW(struct devices *s, const void *i, void *w, int f, void *d) { return SetupDiOpenDeviceInfo(s, i, w, f, d); }
int SetupDiCreateDeviceInfoA(struct devices *s, const void *n, const void *c, const void *t, void *w, int f, void *d) { return SetupDiCreateDeviceInfo(s, n, c, t, w, f, d); }
int SetupDiCreateDeviceInfoW(struct devices *s, const void *n, const void *c, const void *t, void *w, int f, void *d) { return SetupDiCreateDeviceInfo(s, n, c, t, w, f, d); }

int SetupDiSetDeviceRegistryProperty(struct devices *set, void *data, int property, const char *value, int size)
{
    if (!set || !set->made || !value) return fail(ERROR_INVALID_PARAMETER);
    if (property == SPDRP_HARDWAREID) set->loopback = says(value, LOOPBACK, size);
    return 1;
}
int SetupDiSetDeviceRegistryPropertyA(struct devices *s, void *d, int p, const char *v, int z) { return SetupDiSetDeviceRegistryProperty(s, d, p, v, z); }
int SetupDiSetDeviceRegistryPropertyW(struct devices *s, void *d, int p, const char *v, int z) { return SetupDiSetDeviceRegistryProperty(s, d, p, v, z); }

int SetupDiCallClassInstaller(int function, struct devices *set, void *data)
{
    if (!set || !set->made && !set->opened) return fail(ERROR_NO_SUCH_DEVINST);
    if (function == DIF_REGISTERDEVICE) {
        if (!set->loopback || waiting == MOST) return fail(ERROR_INVALID_DATA);
        copy(registered[waiting++], set->id[0] ? set->id : "\0");
    }
    if (function == DIF_REMOVE) {
        if (set->opened) return standin(" --remove", set->id) || fail(ERROR_NO_SUCH_DEVINST);
        if (waiting) waiting--;
    }
    return 1;
}

int UpdateDriverForPlugAndPlayDevices(void *window, const char *id, const char *file, int flags, int *reboot)
{
    if (!says(id, LOOPBACK, 40) || !says(file, "NETLOOP.INF", 520)) return fail(ERROR_INVALID_PARAMETER);
    if (!waiting) return fail(ERROR_NO_SUCH_DEVINST);
    if (reboot) *reboot = 0;
    while (waiting)
        if (!standin("", registered[--waiting])) return fail(ERROR_INVALID_DATA);
    return 1;
}
int UpdateDriverForPlugAndPlayDevicesA(void *w, const char *i, const char *f, int g, int *r) { return UpdateDriverForPlugAndPlayDevices(w, i, f, g, r); }
int UpdateDriverForPlugAndPlayDevicesW(void *w, const char *i, const char *f, int g, int *r) { return UpdateDriverForPlugAndPlayDevices(w, i, f, g, r); }
