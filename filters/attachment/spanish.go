package attachment

// spanish is what a class is called in the Spanish half of a note; the English
// half has the words of the reply.
func spanish(key string) string {
	for _, w := range [...][2]string{
		{executable, "un programa o instalador"},
		{script, "un script"},
		{shortcut, "un acceso directo que inicia otra cosa"},
		{classID, "un nombre que termina en la clase de un programa"},
		{doubleExtension, "un nombre que finge ser un documento"},
		{blocked, "un tipo de archivo que aquí no se acepta"},
		{tooLarge, "más grande de lo que aquí se acepta"},
		{bomb, "demasiado grande o profundo al descomprimirse"},
		{diskImage, "una imagen de disco"},
		{archiveEncrypted, "un archivo comprimido con contraseña"},
		{archiveAmbiguous, "un archivo comprimido que cada programa abre de otra manera"},
		{archiveOpaque, "un archivo comprimido que no se puede inspeccionar"},
		{macroAuto, "un documento con macros que se ejecutan solas"},
		{xlm, "un libro con macros de Excel 4"},
		{remoteTemplate, "un documento que carga su plantilla de otro lugar"},
		{dde, "un documento que llama a otro programa (DDE)"},
		{equation, "un documento con un objeto del viejo editor de ecuaciones"},
		{rtfObject, "un documento RTF con un objeto dentro"},
		{pdfLaunch, "un PDF que inicia un programa"},
		{htmlSmuggling, "una página que crea un archivo en el navegador"},
		{svgScript, "una imagen con un script"},
		{macro, "un documento con macros"},
		{mismatch, "un adjunto que no es lo que dice ser"},
		{htmlForm, "una página que pide una contraseña"},
		{bidi, "un nombre con direcciones de escritura ocultas"},
		{hiddenName, "un nombre que oculta su final"},
		{externalLink, "un documento que carga datos de otro lugar"},
		{docEncrypted, "un documento con contraseña"},
		{docDamaged, "un documento dañado"},
		{pdfScript, "un PDF con un script"},
		{pdfEmbedded, "un PDF con archivos dentro"},
		{embeddedObject, "un documento con un objeto dentro"},
		{htmlAttachment, "una página web"},
		{htmlActive, "contenido activo en el texto del mensaje"},
		{longName, "un nombre muy largo"},
	} {
		if w[0] == key {
			return w[1]
		}
	}
	return ""
}
